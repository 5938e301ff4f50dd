#include "executor/run_local.h"

#include <algorithm>
#include <utility>

#include "executor/environment.h"
#include "executor/guesser.h"
#include "executor/memory_speed.h"
#include "executor/rank_run.h"
#include "executor/run_parts.h"
#include "executor/support.h"

namespace vramplan {
namespace {

constexpr std::int64_t kDecodeSamples = 32;  // looks at memory during decode, about
constexpr std::int64_t kLeastToRead = std::int64_t{64} << 20, kMostToRead = kLeastToRead * 4;

class LocalRun {
 public:
  LocalRun(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
           const RunRequest& request, const SharedRun* shared)
      : decisions_(decisions),
        source_(source),
        device_(device),
        request_(request),
        shared_(shared),
        sampler_(request.sampling),
        memory_(request.memory != nullptr ? *request.memory : this_process_memory()),
        part_(model_part(source.card, decisions.sharding, 0)),
        prompts_(prompts_of(decisions, source.card.vocab, request.prompts)) {
    base_ = request.process_base;
    if (base_.n == 0) base_ = std::max(Bytes{0}, memory_.now().resident - request.tokenizer);
    need_ = need_of_run(decisions, source, device, part_, prompts_, nullptr);
    if (shared_ != nullptr) need_.sizes.weights = {};
  }

  /// What is left of the capacity for tensors and blocks.
  Bytes tensor_capacity() const {
    return std::max(Bytes{0}, decisions_.capacity - base_ - request_.tokenizer);
  }

  void refuse_if_too_large(const Backend& backend, Bytes free_now) const {
    need_.require_blocks("the run");
    const Bytes need = need_.total() + base_ + request_.tokenizer;
    if (need > decisions_.capacity) {
      throw Error(ErrorCode::kDoesNotFit,
                  "the run needs " + to_text(need) + " (" + std::to_string(need.n) +
                      " B: " + std::to_string(need_.total().n) + " B of tensors and blocks, " +
                      std::to_string((need - need_.total()).n) +
                      " B of the process), the capacity is " + to_text(decisions_.capacity) + " (" +
                      std::to_string(decisions_.capacity.n) + " B)")
          .help("plan again for this capacity, or raise it");
    }
    if (need_.total() > free_now) {
      throw Error(ErrorCode::kDoesNotFit,
                  std::string("the run needs ") + std::to_string(need_.total().n) +
                      " B of tensors and blocks, " + std::to_string(free_now.n) +
                      " B are free on the " + backend.name() + " backend")
          .help("free memory on this machine, or plan a smaller run");
    }
  }

  Measurement run(Backend& backend) {
    const Bytes free_now = backend.tier(TierKind::kDevice).free_now();
    if (request_.check_first && shared_ == nullptr) refuse_if_too_large(backend, free_now);
    const bool peak_is_ours = memory_.reset_peak();
    begin_ = backend.clock().now();
    SingleCommunicator alone, alone_too;
    const std::optional<DraftModel> draft = load_draft(backend, free_now);
    RankEngine engine({backend, alone, alone_too, request_.offload_directory,
                       shared_ != nullptr ? shared_->weights : nullptr},
                      decisions_, source_, part_,
                      need_.within(backend.tier(TierKind::kDevice).free_now()));
    look(engine, Phase::kLoad, "regions reserved");
    load_engine(engine, source_, decisions_, request_);
    measurement_.timings.load = backend.clock().now() - begin_;
    look(engine, Phase::kLoad, "weights loaded");
    engine.activations().commit();  // the region is what the run needs, no more
    if (shared_ != nullptr) shared_->ready();
    const double speed_before = reading_speed(engine);

    const std::vector<std::int32_t> ends = end_tokens_of(request_, source_);
    beams_ = searches_of(decisions_, request_, prompts_.size(), ends);
    Scheduler scheduler(
        engine.kv(), prompts_,
        scheduler_options(decisions_, beams_.empty() ? ends : std::vector<std::int32_t>{}));
    backend.trace_to(request_.trace);
    if (engine.kv_stream() != nullptr) engine.kv_stream()->trace_to(request_.trace);
    if (engine.weight_stream() != nullptr) engine.weight_stream()->trace_to(request_.trace);
    std::optional<Guesser> guesser;
    if (decisions_.speculation.any()) {
      guesser.emplace(Guesser::Parts{decisions_, source_.card.vocab, &sampler_,
                                     draft ? draft->engine.get() : nullptr, prompts_});
    }
    RunHooks with = hooks(engine, scheduler);
    if (guesser) with.guesser = &*guesser;
    const RankRun run = run_passes(engine, scheduler, with);
    if (guesser) measurement_.speculation = run.speculation;
    if (draft) add_draft_rows(measurement_.observed, *guesser);
    if (shared_ != nullptr) shared_->done();
    finish(engine, run, peak_is_ours);
    if (decisions_.preempt != Preempt::kNone) measurement_.preemption = run.preemption;
    give_answers(beams_, scheduler, decisions_, request_, measurement_);
    const double speed = (speed_before + reading_speed(engine)) / 2;
    measurement_.timings.memory_bytes_per_s = speed;
    if (speed > 0) measurement_.timings.card_memory_bytes_per_s = card_rate();
    return std::move(measurement_);
  }

 private:
  struct DraftModel {
    std::unique_ptr<Decisions> decisions;
    std::unique_ptr<SingleCommunicator> alone;
    std::unique_ptr<RankEngine> engine;
  };

  /// The smaller model, in memory before the other: its regions are what it needs.
  std::optional<DraftModel> load_draft(Backend& backend, Bytes free_now) const {
    if (decisions_.speculation.guess != Guess::kDraft) return std::nullopt;
    DraftModel draft{std::make_unique<Decisions>(draft_decisions(decisions_)),
                     std::make_unique<SingleCommunicator>(), nullptr};
    const ModelSource& source = *source_.draft;
    draft.engine = std::make_unique<RankEngine>(
        RankEngine::Parts{backend, *draft.alone, *draft.alone}, *draft.decisions, source,
        model_part(source.card, draft.decisions->sharding, 0), need_.draft->within(free_now));
    load_engine(*draft.engine, source, *draft.decisions, request_);
    draft.engine->activations().commit();
    return draft;
  }

  RunHooks hooks(RankEngine& engine, const Scheduler& scheduler) {
    RunHooks hooks;
    hooks.sampler = &sampler_;
    hooks.trace = request_.trace;
    hooks.vocab = source_.card.vocab;
    if (beams_.empty()) {
      hooks.on_token = request_.on_token;
    } else {
      hooks.beams = &beams_;
    }
    const std::int64_t steps = decisions_.output.n - 1;
    const std::int64_t every = std::max<std::int64_t>(1, steps / kDecodeSamples);
    const std::int64_t chunks = scheduler.prefill_pass_count();
    hooks.after_pass = [this, &engine, every, chunks](const Pass& pass) {
      const bool prefill = pass.phase == Phase::kPrefill;
      if (prefill || pass.number % every == 0 || pass.number == 1) {
        look(engine, pass.phase, moment_of(pass));
      }
      report_progress(request_, decisions_, pass, chunks);
    };
    return hooks;
  }

  double card_rate() const {
    const double share = device_.memory_efficiency.value;
    return device_.memory_bytes_per_s.value * (share > 0 ? share : 1.0);
  }

  /// How fast memory is now; a shared machine changes. 0 when the weights would tell of caches.
  double reading_speed(RankEngine& engine) const {
    const auto weights = engine.weights_arena().used();
    if (static_cast<std::int64_t>(weights.size()) < kLeastToRead) return 0;
    const auto part =
        weights.first(std::min(weights.size(), static_cast<std::size_t>(kMostToRead)));
    return reading_bytes_per_s(part, decisions_.threads, engine.backend().clock(), 5);
  }

  void look(RankEngine& engine, Phase phase, std::string moment) {
    MemorySample sample;
    sample.at = engine.backend().clock().now() - begin_;
    sample.phase = phase;
    sample.moment = std::move(moment);
    sample.taken = engine.taken();
    // Of pages that several processes have each counts its share.
    const ProcessSample now = memory_.now();
    sample.resident = shared_ != nullptr ? now.proportional : now.resident;
    measurement_.process_peak = std::max(measurement_.process_peak, sample.resident);
    measurement_.samples.push_back(std::move(sample));
  }

  void finish(RankEngine& engine, const RankRun& run, bool peak_is_ours) {
    if (peak_is_ours) {
      measurement_.process_peak = std::max(measurement_.process_peak, memory_.now().peak);
    }
    const Seconds load_seconds = measurement_.timings.load;
    measurement_.timings = timings_of({run}, decisions_.sharding);
    measurement_.timings.load = load_seconds;
    add_observed_rows(measurement_.observed, engine, run);
    const auto runtime = [&](const char* name, Bytes bytes, const char* probe) {
      measurement_.observed.add(
          {0, TierKind::kDevice, Category::kRuntime, name, Phase::kLoad, bytes, probe});
    };
    runtime("process base", base_, "resident bytes before the model was opened, smaps_rollup");
    if (request_.tokenizer.n > 0) {
      runtime("tokenizer", request_.tokenizer, "resident bytes that opening the vocabulary added");
    }
    // With no answer from the system, free is what the tier did not hand out.
    RankCapacity capacity;
    capacity.capacity = decisions_.capacity;
    capacity.free = measurement_.process_peak.n > 0
                        ? decisions_.capacity - measurement_.process_peak
                        : engine.backend().tier(TierKind::kDevice).free_now();
    // Host rows are a cache beyond the device: of the same memory here.
    capacity.rows = measurement_.observed.peak(0, TierKind::kDevice) +
                    measurement_.observed.peak(0, TierKind::kHost);
    capacity.unaccounted = capacity.capacity - capacity.free - capacity.rows;
    measurement_.capacity.push_back(capacity);
    measurement_.environment = this_environment(engine.backend().name(), decisions_.threads);
    measurement_.complete = true;
  }

  const Decisions& decisions_;
  const ModelSource& source_;
  const DeviceCard& device_;
  const RunRequest& request_;
  const SharedRun* shared_;  // null: the weights are this run's own
  Sampler sampler_;
  std::vector<BeamSearch> beams_;  // of each prompt, with beam search
  ProcessMemory& memory_;
  ModelPart part_;
  std::vector<std::vector<std::int32_t>> prompts_;
  Bytes base_;
  RankNeed need_;
  Seconds begin_;
  Measurement measurement_;
};

}  // namespace

Measurement run_local(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const RunRequest& request,
                      const std::function<std::unique_ptr<Backend>(Bytes capacity)>& make_backend,
                      const SharedRun* shared) {
  refuse_unsupported(source, decisions, true, request.random_weights);
  LocalRun run(decisions, source, device, request, shared);
  const std::unique_ptr<Backend> backend = make_backend(run.tensor_capacity());
  return run.run(*backend);
}

}  // namespace vramplan
