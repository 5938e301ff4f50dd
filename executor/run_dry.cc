#include "executor/run_dry.h"

#include <algorithm>
#include <map>

#include "executor/backend_dry.h"
#include "executor/cuda_upload.h"
#include "executor/environment.h"
#include "executor/guesser.h"
#include "executor/need.h"
#include "executor/rank_run.h"
#include "executor/replica_merge.h"
#include "executor/support.h"

namespace vramplan {
namespace {

/// What a virtual device holds before a model: its card says so. These bytes are taken from the
/// tier like any other, so that the capacity is honest; the row says that a card is where they come
/// from.
class VirtualRuntime {
 public:
  VirtualRuntime(Backend& backend, const DeviceCard& device, int rank, const Decisions& decisions,
                 Bytes tokenizer, Ledger& ledger)
      : backend_(backend), device_(device), rank_(rank), ledger_(ledger) {
    const bool gpu = device.kind != DeviceKind::kCpu;
    const TierKind process = gpu ? TierKind::kHost : TierKind::kDevice;
    const int ranks = decisions.sharding.ranks();
    const std::int64_t replicas = decisions.replicas;
    if (gpu) {
      take(TierKind::kDevice, Category::kRuntime, "context", device.context_bytes, replicas);
      take(TierKind::kDevice, Category::kRuntime, "modules", device.module_bytes, replicas);
      if (device.kind != DeviceKind::kGpu) {  // on a GPU the rank's engine takes it
        take(TierKind::kDevice, Category::kWorkspace, "gemm", device.workspace_bytes);
      }
      if (ranks > 1) take(TierKind::kDevice, Category::kComm, "communicator", device.comm_bytes);
    }
    take(process, Category::kRuntime, "process base", device.process_base_bytes);
    if (tokenizer.n > 0) {
      take(process, Category::kRuntime, "tokenizer",
           {tokenizer.n, Evidence::kMeasured, "this process"});
    }
    if (replicas > 1 && !gpu) {
      take(process, Category::kRuntime, "replicas",
           {(replica_base(device) * replicas).n, Evidence::kAssumed, "each holds something"});
    }
  }
  ~VirtualRuntime() {
    for (auto& [kind, region] : regions_) backend_.tier(kind).release(region);
  }
  VirtualRuntime(const VirtualRuntime&) = delete;
  VirtualRuntime& operator=(const VirtualRuntime&) = delete;

 private:
  void take(TierKind tier, Category category, const char* name, const Sourced<std::int64_t>& bytes,
            std::int64_t times = 1) {
    Tier& from = backend_.tier(tier);
    // A card that says nothing of its host's memory does not limit it.
    if (tier == TierKind::kDevice || from.capacity().n > 0) {
      regions_.emplace_back(tier, from.reserve(Bytes{bytes.value} * times, name));
    }
    const std::string source = bytes.source.empty() ? "" : ": " + bytes.source;
    ledger_.add({rank_, tier, category, name, Phase::kLoad, Bytes{bytes.value} * times,
                 "virtual device, as card " + device_.name + " says" + source});
  }

  Backend& backend_;
  const DeviceCard& device_;
  int rank_;
  Ledger& ledger_;
  std::vector<std::pair<TierKind, Region>> regions_;
};

std::optional<GpuFacts> gpu_facts(const DeviceCard& device) {
  if (device.kind != DeviceKind::kGpu) return {};
  return GpuFacts{static_cast<int>(std::max<std::int64_t>(1, device.multiprocessors.value)),
                  {device.workspace_bytes.value}};
}

/// What a virtual GPU takes in whole pages: the rest of the reservation's last one, and graphs.
class VirtualPages {
 public:
  explicit VirtualPages(Tier& tier) : tier_(tier) {}
  ~VirtualPages() {
    for (Region& region : regions_) tier_.release(region);
  }
  VirtualPages(const VirtualPages&) = delete;
  VirtualPages& operator=(const VirtualPages&) = delete;
  void take(Bytes bytes, const char* name) { regions_.push_back(tier_.reserve(bytes, name)); }

 private:
  Tier& tier_;
  std::vector<Region> regions_;
};

/// The smaller model of speculative decoding, where there is one.
struct DryDraft {
  DryDraft(Backend& backend, const Decisions& target, const ModelSource& source,
           const RegionSizes& sizes, GpuWorkspace* workspace)
      : decisions(draft_decisions(target)) {
    if (target.speculation.guess != Guess::kDraft) return;
    const ModelPart part = model_part(source.draft->card, decisions.sharding, 0);
    engine = std::make_unique<RankEngine>(
        RankEngine::Parts{backend, alone, alone, {}, nullptr, workspace}, decisions, *source.draft,
        part, sizes);
  }
  Decisions decisions;
  SingleCommunicator alone;
  std::unique_ptr<RankEngine> engine;
};

class DryRun {
 public:
  DryRun(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
         const RunRequest& request)
      : decisions_(decisions),
        source_(source),
        device_(shared_by(device, decisions.replicas)),
        request_(request),
        gpu_(gpu_facts(device)),
        prompts_(prompts_of(decisions, source.card.vocab, request.prompts)) {
    for (const auto& prompt : prompts_) {
      prompt_tokens_.push_back(static_cast<std::int64_t>(prompt.size()));
    }
  }

  Measurement run() {
    const int ranks = decisions_.sharding.ranks();
    std::vector<RankNeed> needs;
    for (int rank = 0; rank < ranks; ++rank) {
      const ModelPart part = model_part(source_.card, decisions_.sharding, rank);
      needs.push_back(measure_need(decisions_, source_, device_, part, prompt_tokens_, false,
                                   gpu_ ? &*gpu_ : nullptr));
      if (request_.check_first) refuse_if_too_large(rank, needs.back());
    }
    std::vector<RankRun> runs;
    for (int rank = 0; rank < ranks; ++rank) {
      runs.push_back(run_rank(rank, needs[static_cast<std::size_t>(rank)]));
      if (request_.on_progress) {
        request_.on_progress("ranks", static_cast<double>(rank + 1) / static_cast<double>(ranks));
      }
    }
    const Seconds load = measurement_.timings.load;
    const std::vector<Timings> timings(static_cast<std::size_t>(decisions_.replicas),
                                       timings_of(runs, decisions_.sharding));
    measurement_.timings = together(timings);
    measurement_.timings.load = load;
    if (decisions_.preempt != Preempt::kNone) measurement_.preemption = runs.front().preemption;
    measurement_.output.resize(
        static_cast<std::size_t>(decisions_.batch));  // nothing is computed, so there are no tokens
    measurement_.environment = this_environment("dry", decisions_.threads);
    measurement_.complete = true;
    return std::move(measurement_);
  }

 private:
  Bytes runtime_bytes() const {
    if (device_.kind == DeviceKind::kCpu) {
      const Bytes own = decisions_.replicas > 1 ? replica_base(device_) : Bytes{};
      return Bytes{device_.process_base_bytes.value} + request_.tokenizer +
             own * decisions_.replicas;
    }
    Bytes bytes = (Bytes{device_.context_bytes.value} + Bytes{device_.module_bytes.value}) *
                  decisions_.replicas;
    if (!gpu_) bytes += Bytes{device_.workspace_bytes.value};
    if (decisions_.sharding.ranks() > 1) bytes += Bytes{device_.comm_bytes.value};
    return bytes;
  }

  void refuse_if_too_large(int rank, const RankNeed& need) const {
    need.require_blocks("rank " + std::to_string(rank));
    const Bytes tensors = gpu_ ? need.reserved_pages(decisions_.replicas) : need.total();
    const Bytes others =
        gpu_ ? Bytes{} : (need.total() - need.sizes.weights) * (decisions_.replicas - 1);
    const Bytes bytes = tensors + others + runtime_bytes();
    if (bytes <= decisions_.capacity) return;
    throw Error(ErrorCode::kDoesNotFit, "rank " + std::to_string(rank) + " needs " +
                                            to_text(bytes) + " (" + std::to_string(bytes.n) +
                                            " B), the capacity is " + to_text(decisions_.capacity) +
                                            " (" + std::to_string(decisions_.capacity.n) + " B)")
        .help("plan again for this capacity, or raise it");
  }

  RankRun run_rank(int rank, const RankNeed& need) {
    const ModelPart part = model_part(source_.card, decisions_.sharding, rank);
    DryBackend backend(device_, decisions_.threads, decisions_.linear_inputs, decisions_.capacity,
                       true);
    if (gpu_) backend.stand_for(*gpu_, decisions_.activations, captures_steps(decisions_));
    VirtualRuntime runtime(backend, device_, rank, decisions_, request_.tokenizer,
                           measurement_.observed);
    Tier& tier = backend.tier(TierKind::kDevice);
    VirtualPages pages(tier);
    DryCommunicator tensor_group(part.tensor_rank, part.tp, backend.dry_ops());
    DryCommunicator stages(part.stage, part.pp, backend.dry_ops());
    const Bytes free = tier.free_now();
    const FittedRegions fitted = regions_within(free, need);
    const RegionSizes& sizes = fitted.own;
    RankEngine engine({backend, tensor_group, stages}, decisions_, source_, part, sizes);
    DryDraft draft(backend, decisions_, source_, fitted.draft, engine.gpu());
    engine.load({});
    if (draft.engine != nullptr) draft.engine->load({});
    const auto others = other_replicas(engine, backend, sizes);
    if (gpu_) {
      const Bytes regions = free - tier.free_now();
      reserved_ = decisions_.replicas > 1 ? need.reserved_pages(decisions_.replicas)
                                          : round_up(fitted.reservation, kDevicePage);
      pages.take(std::max(Bytes{}, reserved_ - regions), "the rest of the reservation");
    }
    if (rank == 0) look(engine, Phase::kLoad, "weights loaded");
    Scheduler scheduler(engine.kv(), prompts_, scheduler_options(decisions_, {}));
    RunHooks hooks;
    std::size_t graphs = 0;
    hooks.charge_sampling = [&](std::int64_t rows) {
      const double logits = static_cast<double>(rows) * static_cast<double>(source_.card.vocab);
      const DryOp choice = decisions_.beam_search ? DryOp::kSampleBeams : DryOp::kSample;
      backend.dry_ops().count({choice, DType::kF32, DType::kF32, 4 * logits, 0});
    };
    const std::int64_t every = std::max<std::int64_t>(1, decisions_.output.n / 32);
    hooks.after_pass = [&](const Pass& pass) {
      for (; graphs < backend.captured_calls().size(); ++graphs) {
        pages.take(graph_pages(backend.captured_calls()[graphs]) * decisions_.replicas,
                   "the graph of a decode step");
      }
      if (rank != 0) return;
      const bool prefill = pass.phase == Phase::kPrefill;
      if (!prefill && pass.number % every != 0 && pass.number != 1) return;
      look(engine, pass.phase,
           (prefill ? "prefill chunk " : "decode step ") + std::to_string(pass.number));
    };
    std::optional<Guesser> guesser;
    if (decisions_.speculation.any()) {
      guesser.emplace(
          Guesser::Parts{decisions_, source_.card.vocab, nullptr, draft.engine.get(), prompts_});
      hooks.guesser = &*guesser;
    }
    RankRun run = run_passes(engine, scheduler, hooks);
    const std::vector<std::int64_t> captured = backend.captured_calls();
    const Bytes of_others = add_rows(engine, run, others);
    if (guesser) measurement_.speculation = run.speculation;
    if (draft.engine != nullptr) add_draft_rows(measurement_.observed, *guesser);
    if (gpu_) {
      const Bytes inside =
          taken_in_reservation(engine, run, guesser ? &*guesser : nullptr) + of_others;
      add_gpu_rows(rank, *engine.gpu(), inside, captured);
    }
    const Bytes rows = measurement_.observed.peak(rank, TierKind::kDevice);
    const Bytes free_now = tier.free_now();
    measurement_.capacity.push_back(
        {rank, decisions_.capacity, free_now, rows, decisions_.capacity - free_now - rows});
    return run;
  }

  /// Engines over the same weights, all there at the same time.
  std::vector<std::unique_ptr<RankEngine>> other_replicas(RankEngine& first, DryBackend& backend,
                                                          const RegionSizes& sizes) {
    shared_.emplace(first.shared_weights());
    RegionSizes own = sizes;
    own.gpu.vectors = {};
    std::vector<std::unique_ptr<RankEngine>> others;
    for (std::int64_t i = 1; i < decisions_.replicas; ++i) {
      others.push_back(
          std::make_unique<RankEngine>(RankEngine::Parts{backend, alone_, alone_, {}, &*shared_},
                                       decisions_, source_, first.part(), own));
      others.back()->load({});
    }
    return others;
  }

  /// Replicas take their turns here; what each held is added up. Gives what the others had in their
  /// reservations.
  Bytes add_rows(RankEngine& first, const RankRun& run,
                 const std::vector<std::unique_ptr<RankEngine>>& others) {
    Bytes inside;
    std::vector<Ledger> ledgers(1);
    add_observed_rows(ledgers.front(), first, run);
    for (const auto& engine : others) {
      Scheduler scheduler(engine->kv(), prompts_, scheduler_options(decisions_, {}));
      RunHooks hooks;
      std::optional<Guesser> guesser;
      if (decisions_.speculation.any()) {
        guesser.emplace(Guesser::Parts{decisions_, source_.card.vocab, nullptr, nullptr, prompts_});
        hooks.guesser = &*guesser;
      }
      const RankRun other = run_passes(*engine, scheduler, hooks);
      inside += taken_in_reservation(*engine, other, nullptr) - first.weights_arena().live() -
                first.vector_bytes();
      ledgers.emplace_back();
      add_observed_rows(ledgers.back(), *engine, other);
    }
    const ReplicasOn on = gpu_ ? ReplicasOn::kGpu : ReplicasOn::kCpu;
    const Ledger rows = others.empty() ? ledgers.front() : added_up(ledgers, on);
    for (const LedgerRow& row : rows.rows()) measurement_.observed.add(row);
    return inside;
  }

  Bytes graph_pages(std::int64_t nodes) const {
    return round_up(Bytes{device_.graph_node_bytes.value} * nodes, kDevicePage);
  }

  FittedRegions regions_within(Bytes free, const RankNeed& need) const {
    if (gpu_) return need.reserved_within(free);
    return {need.within(free), need.draft != nullptr ? need.draft->sizes : RegionSizes{}, {}};
  }

  /// `inside`: of the reservation; `captured`: operations of each step that was.
  void add_gpu_rows(int rank, const GpuWorkspace& gpu, Bytes inside,
                    const std::vector<std::int64_t>& captured) {
    const auto add = [&](TierKind tier, Category category, const char* name, Bytes bytes,
                         std::string probe) {
      measurement_.observed.add(
          {rank, tier, category, name, Phase::kLoad, bytes, std::move(probe)});
    };
    add(TierKind::kDevice, Category::kRuntime, "arena rounding", reserved_ - inside,
        "regions in whole pages of the virtual device, less all they were made for");
    if (!captured.empty()) {
      Bytes bytes;
      for (const std::int64_t calls : captured) {
        bytes += graph_pages(calls) * decisions_.replicas;
      }
      add(TierKind::kDevice, Category::kGraphs, "decode", bytes,
          "virtual device: " + std::to_string(captured.size()) + " steps captured, of " +
              std::to_string(captured.back()) + " operations the last");
    }
    add(TierKind::kHost, Category::kWorkspace, "staging",
        (gpu.arrays_bytes() * 2 + Bytes{CudaUpload::kBufferBytes} * 2) * decisions_.replicas,
        "virtual host: two copies of the arrays of a pass, two buffers of weights");
  }

  void look(RankEngine& engine, Phase phase, std::string moment) {
    measurement_.samples.push_back(
        {engine.backend().clock().now(), phase, std::move(moment), engine.taken(), Bytes{0}});
  }

  const Decisions& decisions_;
  const ModelSource& source_;
  const DeviceCard device_;  // as one of the replicas sees it
  const RunRequest& request_;
  std::optional<GpuFacts> gpu_;
  std::vector<std::vector<std::int32_t>> prompts_;
  std::vector<std::int64_t> prompt_tokens_;
  Bytes reserved_;  // of the rank that runs, on a GPU
  std::optional<SharedWeights> shared_;
  SingleCommunicator alone_;  // of other replicas
  Measurement measurement_;
};

}  // namespace

Measurement run_dry(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
                    const RunRequest& request) {
  refuse_unsupported(source, decisions, false, request.random_weights);
  return DryRun(decisions, source, device, request).run();
}

}  // namespace vramplan
