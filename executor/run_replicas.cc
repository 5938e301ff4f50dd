#include "executor/run_replicas.h"

#include <algorithm>
#include <utility>

#include "executor/environment.h"
#include "executor/measurement_wire.h"
#include "executor/rank_run.h"
#include "executor/replica_group.h"
#include "executor/replica_merge.h"
#include "executor/run_local.h"
#include "executor/run_parts.h"
#include "executor/shared_tier.h"
#include "executor/support.h"

namespace vramplan {
namespace {

using MakeBackend = std::function<std::unique_ptr<Backend>(Bytes capacity)>;

class ReplicasRun {
 public:
  ReplicasRun(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
              const RunRequest& request, const MakeBackend& make_backend)
      : decisions_(decisions),
        source_(source),
        device_(device),
        request_(request),
        make_backend_(make_backend),
        part_(model_part(source.card, decisions.sharding, 0)),
        prompts_(prompts_of(decisions, source.card.vocab, request.prompts)) {
    base_ = request.process_base;
    if (base_.n == 0) base_ = this_process_memory().now().resident - request.tokenizer;
    need_ = need_of_run(decisions, source, device, part_, prompts_, nullptr);
    each_ = need_.total() - need_.sizes.weights;
    left_ = std::max(Bytes{0}, decisions_.capacity - base_ - request_.tokenizer);
  }

  Measurement run() {
    SharedTier tier(left_);
    if (request_.check_first) refuse_if_too_large(tier.free_now());
    Arena arena(tier, std::min(need_.sizes.weights, left_), "the region of shared weights");
    const SteadyClock clock;
    const Seconds begin = clock.now();
    const LoadedWeights loaded = load(arena);
    tier.seal();
    const Seconds load_seconds = clock.now() - begin;
    const SharedWeights shared{arena, loaded};

    ReplicaGroup group(
        static_cast<int>(decisions_.replicas),
        [&](int replica, const std::function<void()>& meet) {
          return run_one(replica, shared, meet);
        },
        request_.on_wait);
    group.gather();  // engines are built
    group.let_go();
    group.gather();  // all passes are done
    look(group);
    group.let_go();
    std::vector<Measurement> replicas;
    for (const std::string& text : group.results()) replicas.push_back(unpacked_measurement(text));
    return merged(replicas, arena.live(), load_seconds);
  }

 private:
  void refuse_if_too_large(Bytes free_now) const {
    need_.require_blocks("each replica");
    const Bytes need = need_.sizes.weights + each_ * decisions_.replicas;
    if (need <= left_ && need <= free_now) return;
    const std::string parts = std::to_string(need_.sizes.weights.n) + " B of weights and " +
                              std::to_string(decisions_.replicas) + " x " +
                              std::to_string(each_.n) + " B of tensors and blocks";
    throw Error(ErrorCode::kDoesNotFit,
                "the replicas need " + parts + ", " + std::to_string(std::min(left_, free_now).n) +
                    " B are " + (need > left_ ? "left of the capacity" : "free on this machine"))
        .help("plan with fewer --replicas");
  }

  /// With all threads, which are gone again before a process is forked.
  LoadedWeights load(Arena& arena) const {
    const std::unique_ptr<Backend> backend = make_backend_(Bytes{});
    std::unique_ptr<File> file;
    const LoadOptions options = load_options(source_, decisions_, request_, file);
    return load_weights(source_, decisions_, part_, arena, backend->ops(), options);
  }

  /// In a process of its own. Keeps quiet but for the first.
  std::string run_one(int replica, const SharedWeights& shared,
                      const std::function<void()>& meet) const {
    RunRequest request = request_;
    request.process_base = base_;
    request.memory = nullptr;
    if (replica > 0) request.on_token = nullptr;
    if (replica > 0) request.on_progress = nullptr;
    const SharedRun run{&shared, meet, meet};
    const Bytes capacity{(left_ - shared.arena.live()).n / decisions_.replicas};
    const Measurement measurement = run_local(
        decisions_, source_, device_, request,
        [&](Bytes) { return make_backend_(std::max(Bytes{0}, capacity)); }, &run);
    return packed_measurement(measurement);
  }

  /// While every replica holds what it ran with.
  void look(const ReplicaGroup& group) {
    for (int i = 0; i < static_cast<int>(decisions_.replicas); ++i) {
      const ProcessSample sample = memory_of_process(group.pid(i));
      looks_.push_back({sample.resident, sample.proportional, sample.own, {}, {}, true});
    }
    parent_ = this_process_memory().now().proportional;
  }

  Measurement merged(const std::vector<Measurement>& replicas, Bytes weights,
                     Seconds load_seconds) {
    std::vector<Ledger> ledgers;
    std::vector<Timings> timings;
    std::vector<std::vector<MemorySample>> samples;
    for (std::size_t i = 0; i < replicas.size(); ++i) {
      const Measurement& m = replicas[i];
      ledgers.push_back(m.observed);
      timings.push_back(m.timings);
      samples.push_back(m.samples);
      looks_[i].ttft = m.timings.ttft;
      looks_[i].tpot = m.timings.tpot;
      looks_[i].same_output = m.output == replicas.front().output;
    }
    Measurement out = replicas.front();
    out.observed = added_up(ledgers);
    out.timings = together(timings);
    out.timings.load = load_seconds;
    out.samples = together(samples, weights, parent_);
    out.replicas = looks_;
    out.parent_proportional = parent_;
    add_own_row(out);
    set_peak(out);
    out.environment = this_environment("cpu", decisions_.threads);
    return out;
  }

  /// What the replicas hold of their own besides tensors and blocks.
  void add_own_row(Measurement& out) const {
    Bytes own, tensors;
    for (const ReplicaMeasurement& replica : out.replicas) own += replica.own;
    if (own.n == 0) return;  // the system does not say
    for (const LedgerRow& row : out.observed.rows()) {
      if (row.category == Category::kKvCache) tensors += row.bytes;
    }
    tensors += need_.sizes.activations * decisions_.replicas;
    out.observed.add({0, TierKind::kDevice, Category::kRuntime, "replicas", Phase::kLoad,
                      std::max(Bytes{0}, own - tensors),
                      "own pages of the replicas less their cache and activations, smaps_rollup"});
  }

  void set_peak(Measurement& out) const {
    Bytes sum = parent_;
    for (const ReplicaMeasurement& replica : out.replicas) {
      sum += replica.proportional;
      if (replica.proportional.n == 0) sum = {};
    }
    out.process_peak = parent_.n > 0 ? sum : Bytes{};
    RankCapacity capacity;
    capacity.capacity = decisions_.capacity;
    capacity.rows = out.observed.peak(0, TierKind::kDevice) + out.observed.peak(0, TierKind::kHost);
    capacity.free =
        decisions_.capacity - (out.process_peak.n > 0 ? out.process_peak : capacity.rows);
    capacity.unaccounted = capacity.capacity - capacity.free - capacity.rows;
    out.capacity = {capacity};
  }

  const Decisions& decisions_;
  const ModelSource& source_;
  const DeviceCard& device_;
  const RunRequest& request_;
  const MakeBackend& make_backend_;
  ModelPart part_;
  std::vector<std::vector<std::int32_t>> prompts_;
  Bytes base_;
  RankNeed need_;
  Bytes each_, left_;  // of a replica without weights; of the capacity, for weights and replicas
  std::vector<ReplicaMeasurement> looks_;
  Bytes parent_;
};

}  // namespace

Measurement run_replicas(const Decisions& decisions, const ModelSource& source,
                         const DeviceCard& device, const RunRequest& request,
                         const MakeBackend& make_backend) {
  refuse_unsupported(source, decisions, true, request.random_weights);
  return ReplicasRun(decisions, source, device, request, make_backend).run();
}

}  // namespace vramplan
