#include "executor/run_cuda.h"

#include <algorithm>
#include <utility>

#include "executor/backend_cuda.h"
#include "executor/cuda_replica.h"
#include "executor/driver_memory.h"
#include "executor/environment.h"
#include "executor/guesser.h"
#include "executor/rank_run.h"
#include "executor/run_parts.h"
#include "executor/support.h"
#include "kernels/cuda/driver.h"

namespace vramplan {
namespace {

constexpr std::int64_t kDecodeSamples = 32;  // looks at memory during decode, about

std::string bytes_text(Bytes bytes) {
  return to_text(bytes) + " (" + std::to_string(bytes.n) + " B)";
}

class CudaRun {
 public:
  CudaRun(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
          const RunRequest& request, cuda::Runtime& runtime, const CudaReplica* replica)
      : decisions_(decisions),
        source_(source),
        card_(device),
        request_(request),
        runtime_(runtime),
        replica_(replica),
        sampler_(request.sampling),
        part_(model_part(source.card, decisions.sharding, 0)),
        prompts_(prompts_of(decisions, source.card.vocab, request.prompts)),
        driver_(runtime, request.cuda.device) {
    card_.kind = DeviceKind::kGpu;  // whatever the plan was made for: these are its scratch rules
    ProcessMemory& host = request.memory != nullptr ? *request.memory : this_process_memory();
    base_ = request.process_base;
    if (base_.n == 0) base_ = std::max(Bytes{0}, host.now().resident - request.tokenizer);
  }

  Measurement run(const cuda::KernelTable& kernels) {
    meet();  // all have looked from outside
    runtime_.use_device(request_.cuda.device);
    context_ = driver_.look("context");
    CudaBackend backend(runtime_, kernels, options(), decisions_.capacity);
    modules_ += driver_.look("GEMM library, stream");
    begin_ = backend.clock().now();
    need_ = need_of_run(decisions_, source_, card_, part_, prompts_, backend.gpu());
    const Bytes free_now = backend.tier(TierKind::kDevice).free_now();
    if (request_.check_first) refuse_if_too_large(free_now);
    if (replica_ == nullptr) return run_in(backend, nullptr);
    std::optional<CudaSharedWeights> weights;
    share_weights(backend, weights);
    Measurement measurement = run_in(backend, &*weights);
    if (!replica_->first()) weights.reset();
    meet();  // nobody has it open any more
    return measurement;
  }

 private:
  void meet() const {
    if (replica_ != nullptr) replica_->meet();
  }

  /// The first makes and fills them, then the others find them.
  void share_weights(CudaBackend& backend, std::optional<CudaSharedWeights>& weights) {
    if (!replica_->first()) meet();
    weights.emplace(runtime_, *replica_, need_);
    reservation_ += driver_.look("shared weights reserved");
    std::unique_ptr<File> file;
    weights->load(source_, decisions_, part_, backend,
                  load_options(source_, decisions_, request_, file));
    modules_ += driver_.look("shared weights loaded");
    if (replica_->first()) meet();
    if (!replica_->first()) backend.take_upload_buffers();
    need_.sizes.weights = need_.sizes.gpu.vectors = {};
  }

  Measurement run_in(CudaBackend& backend, CudaSharedWeights* shared) {
    const FittedRegions sizes = need_.reserved_within(backend.tier(TierKind::kDevice).free_now());
    backend.reserve_all(sizes.reservation);
    reservation_ += driver_.look("reservation");

    SingleCommunicator alone, alone_too;
    std::optional<SharedWeights> weights;
    if (shared != nullptr) weights.emplace(shared->shared());
    RankEngine engine(
        {backend, alone, alone_too, request_.offload_directory, weights ? &*weights : nullptr},
        decisions_, source_, part_, sizes.own);
    look(engine, Phase::kLoad, "regions reserved");
    load_engine(engine, source_, decisions_, request_);
    const std::unique_ptr<DraftModel> draft = load_draft(backend, engine, sizes.draft);
    measurement_.timings.load = backend.clock().now() - begin_;
    modules_ += driver_.look("weights loaded");
    look(engine, Phase::kLoad, "weights loaded");
    const std::vector<std::int32_t> ends = end_tokens_of(request_, source_);
    beams_ = searches_of(decisions_, request_, prompts_.size(), ends);
    Scheduler scheduler(
        engine.kv(), prompts_,
        scheduler_options(decisions_, beams_.empty() ? ends : std::vector<std::int32_t>{}));
    RunHooks with = hooks(engine, backend, scheduler);
    std::optional<Guesser> guesser;
    if (decisions_.speculation.any()) {
      guesser.emplace(Guesser::Parts{
          decisions_, source_.card.vocab, &sampler_, draft ? draft->engine.get() : nullptr,
          prompts_, [this, &backend](const Pass& pass) { after_draft_pass(backend, pass); }});
      with.guesser = &*guesser;
    }
    meet();  // all begin together
    const RankRun run = run_passes(engine, scheduler, with);
    driver_.look("after the run");
    meet();  // all hold what they ran with
    if (replica_ != nullptr) driver_.look("after all runs");
    meet();
    Bytes inside = taken_in_reservation(engine, run, guesser ? &*guesser : nullptr);
    if (replica_ != nullptr && !replica_->first()) inside -= shared->taken();
    finish(engine, backend, run, guesser ? &*guesser : nullptr, inside);
    if (guesser) measurement_.speculation = run.speculation;
    if (decisions_.preempt != Preempt::kNone) measurement_.preemption = run.preemption;
    give_answers(beams_, scheduler, decisions_, request_, measurement_);
    return std::move(measurement_);
  }

  struct DraftModel {
    explicit DraftModel(const Decisions& target) : decisions(draft_decisions(target)) {}
    Decisions decisions;
    SingleCommunicator alone;
    std::unique_ptr<RankEngine> engine;
  };

  /// The smaller model: in the same reservation and workspace, behind the other.
  std::unique_ptr<DraftModel> load_draft(CudaBackend& backend, RankEngine& engine,
                                         const RegionSizes& sizes) const {
    if (decisions_.speculation.guess != Guess::kDraft) return nullptr;
    auto draft = std::make_unique<DraftModel>(decisions_);
    const ModelSource& source = *source_.draft;
    draft->engine = std::make_unique<RankEngine>(
        RankEngine::Parts{backend, draft->alone, draft->alone, {}, nullptr, engine.gpu()},
        draft->decisions, source, model_part(source.card, draft->decisions.sharding, 0), sizes);
    load_engine(*draft->engine, source, draft->decisions, request_);
    return draft;
  }

  CudaOptions options() const {
    CudaOptions options;
    options.device = request_.cuda.device;
    options.activations = decisions_.activations;
    options.linear_inputs = decisions_.linear_inputs;
    options.graphs = request_.cuda.graphs && captures_steps(decisions_);
    options.naive = decisions_.attention == AttentionAlgorithm::kNaive;
    options.by_layer = decisions_.activation_offload;
    options.random_on_host = request_.cuda.random_on_host;
    return options;
  }

  void refuse_if_too_large(Bytes free_now) const {
    need_.require_blocks("the run");
    const Bytes reservation = need_.reserved_pages(decisions_.replicas);
    const Bytes ours = driver_.last().ours * decisions_.replicas;
    if (reservation + ours > decisions_.capacity) {
      throw Error(ErrorCode::kDoesNotFit, "the run needs " + bytes_text(reservation + ours) +
                                              ", of which " + std::to_string(ours.n) +
                                              " B are the context and libraries; the capacity is " +
                                              bytes_text(decisions_.capacity))
          .help("plan again for this capacity, or raise it");
    }
    // Of several processes some have taken their part by now: an allocation that fails says so.
    if (reservation <= free_now || replica_ != nullptr) return;
    std::string others;
    for (const std::string& name : driver_.named_others())
      others += (others.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kStalePlan,
                "the plan takes " + bytes_text(reservation) +
                    " in one reservation, the driver has " + bytes_text(free_now) +
                    " free now; other processes hold " + bytes_text(driver_.last().others) +
                    (others.empty() ? "" : ": " + others))
        .at("", decisions_.device)
        .help("free the device, or plan again with --capacity " +
              std::to_string((free_now + ours).n));
  }

  RunHooks hooks(RankEngine& engine, const CudaBackend& backend, const Scheduler& scheduler) {
    RunHooks hooks;
    hooks.sampler = &sampler_;
    hooks.vocab = source_.card.vocab;
    if (beams_.empty()) {
      hooks.on_token = request_.on_token;
    } else {
      hooks.beams = &beams_;
    }
    const std::int64_t every =
        std::max<std::int64_t>(1, (decisions_.output.n - 1) / kDecodeSamples);
    const std::int64_t chunks = scheduler.prefill_pass_count();
    hooks.after_pass = [this, &engine, &backend, every, chunks](const Pass& pass) {
      after_pass(engine, backend, pass, every);
      report_progress(request_, decisions_, pass, chunks);
    };
    return hooks;
  }

  /// A pass that captured grew by a graph; any other growth is kernels at their first launch.
  void note_growth(const CudaBackend& backend, std::string moment) {
    const Bytes grown = driver_.look(std::move(moment));
    (backend.graph_count() != graphs_known_ ? graphs_ : modules_) += grown;
    graphs_known_ = backend.graph_count();
  }

  void after_pass(RankEngine& engine, const CudaBackend& backend, const Pass& pass,
                  std::int64_t every) {
    const bool captured = backend.graph_count() != graphs_known_;
    const bool due = pass.phase == Phase::kPrefill || pass.number % every == 0 || pass.number == 1;
    if (!captured && !due) return;
    note_growth(backend, moment_of(pass));
    look(engine, pass.phase, moment_of(pass));
  }

  /// The first step of two tokens, and the first of one, launch kernels that a capture must not.
  void after_draft_pass(const CudaBackend& backend, const Pass& pass) {
    const bool due = pass.phase == Phase::kPrefill || pass.number <= 2;
    if (due || backend.graph_count() != graphs_known_) {
      note_growth(backend, "draft's " + moment_of(pass));
    }
  }

  void look(RankEngine& engine, Phase phase, std::string moment) {
    MemorySample sample;
    sample.at = engine.backend().clock().now() - begin_;
    sample.phase = phase;
    sample.moment = std::move(moment);
    sample.taken = engine.taken();
    sample.resident = driver_.last().ours;
    measurement_.samples.push_back(std::move(sample));
  }

  void add_row(TierKind tier, Category category, const char* name, Bytes bytes, std::string probe) {
    measurement_.observed.add({0, tier, category, name, Phase::kLoad, bytes, std::move(probe)});
  }

  /// `inside`: bytes of everything the reservation was made for.
  void add_driver_rows(const CudaBackend& backend, Bytes inside) {
    const std::string by = std::string("; ") + driver_.method();
    add_row(TierKind::kDevice, Category::kRuntime, "context", context_,
            "growth when the context was made" + by);
    add_row(TierKind::kDevice, Category::kRuntime, "modules", modules_,
            "growth with the GEMM handle, at loading and at first launches" + by);
    add_row(TierKind::kDevice, Category::kRuntime, "arena rounding", reservation_ - inside,
            "growth by the reservation, " + std::to_string(reservation_.n) +
                " B, less all it was made for" + by);
    if (backend.graph_count() > 0) {
      add_row(TierKind::kDevice, Category::kGraphs, "decode", graphs_,
              std::to_string(backend.graph_count()) + " graphs of " +
                  std::to_string(backend.graph_nodes()) + " nodes: growth at their capture" + by);
    }
    if (replica_ == nullptr && driver_.last().others.n > 0) {
      std::string names;
      for (const std::string& name : driver_.named_others()) names += "; " + name;
      add_row(TierKind::kDevice, Category::kRuntime, "other processes", driver_.last().others,
              "total - free - ours at the end" + names);
    }
    add_row(TierKind::kHost, Category::kRuntime, "process base", base_,
            "resident bytes before the model was opened, smaps_rollup");
    if (request_.tokenizer.n > 0) {
      add_row(TierKind::kHost, Category::kRuntime, "tokenizer", request_.tokenizer,
              "resident bytes that opening the vocabulary added");
    }
    add_row(TierKind::kHost, Category::kWorkspace, "staging", backend.staging_bytes(),
            "pinned memory taken for passes and weights");
  }

  /// `inside`: of the reservation.
  void finish(RankEngine& engine, CudaBackend& backend, const RankRun& run, Guesser* guesser,
              Bytes inside) {
    const Seconds load_seconds = measurement_.timings.load;
    measurement_.timings = timings_of({run}, decisions_.sharding);
    measurement_.timings.load = load_seconds;
    add_observed_rows(measurement_.observed, engine, run);
    if (guesser != nullptr && guesser->draft() != nullptr) {
      add_draft_rows(measurement_.observed, *guesser);
    }
    add_driver_rows(backend, inside);

    measurement_.process_peak = driver_.most_ours();
    if (replica_ != nullptr) {
      measurement_.replicas = {{{}, {}, driver_.most_ours(), {}, {}, true}};
      if (replica_->first()) measurement_.process_peak = driver_.taken_since();
    }
    const DriverSample& last = driver_.last();
    RankCapacity capacity;
    capacity.capacity = last.total;
    capacity.free = last.free;
    capacity.rows = measurement_.observed.peak(0, TierKind::kDevice);
    capacity.unaccounted = capacity.capacity - capacity.free - capacity.rows;
    measurement_.capacity.push_back(capacity);
    Environment& environment = measurement_.environment;
    environment = this_environment("cuda", decisions_.threads);
    const cuda::DeviceProperties p = runtime_.properties(request_.cuda.device);
    environment.machine = p.name + ", sm_" + std::to_string(p.major) + std::to_string(p.minor) +
                          ", CUDA driver " + p.driver + "; " + environment.machine;
    measurement_.complete = true;
  }

  const Decisions& decisions_;
  const ModelSource& source_;
  DeviceCard card_;
  const RunRequest& request_;
  cuda::Runtime& runtime_;
  const CudaReplica* replica_;  // null: the only process
  Sampler sampler_;
  std::vector<BeamSearch> beams_;  // of each prompt, with beam search
  ModelPart part_;
  std::vector<std::vector<std::int32_t>> prompts_;
  DriverMemory driver_;
  Bytes base_, context_, modules_, reservation_, graphs_;
  std::int64_t graphs_known_ = 0;
  RankNeed need_;
  Seconds begin_;
  Measurement measurement_;
};

}  // namespace

Measurement run_cuda(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const RunRequest& request, cuda::Runtime& runtime,
                     const cuda::KernelTable& kernels, const CudaReplica* replica) {
  refuse_unsupported(source, decisions, true, request.random_weights, true);
  return CudaRun(decisions, source, device, request, runtime, replica).run(kernels);
}

Measurement run_cuda(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const RunRequest& request) {
  const std::unique_ptr<cuda::Runtime> runtime = cuda::driver().make_runtime();
  std::string why_none;
  if (runtime->device_count(why_none) == 0) {
    throw Error(ErrorCode::kNoDevice, "no CUDA device: " + why_none).at("", "--backend");
  }
  const cuda::KernelTable* const kernels = cuda::driver().kernels();
  if (kernels == nullptr) {
    throw Error(ErrorCode::kUnsupported, "this build has no CUDA kernels")
        .at("", "--backend")
        .help("build where nvcc is installed, or run with --backend cpu or dry");
  }
  return run_cuda(decisions, source, device, request, *runtime, *kernels);
}

}  // namespace vramplan
