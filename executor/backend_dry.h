#pragma once
// DryBackend: one virtual device of any capacity with a clock driven by its card.
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "executor/backend.h"
#include "executor/communicator.h"
#include "executor/dry_ops.h"

namespace vramplan {

class DryBackend final : public Backend {
 public:
  /// `timed` = false leaves the clock at 0: when only bytes are wanted.
  DryBackend(const DeviceCard& card, int threads, DType linear_inputs, Bytes capacity, bool timed);

  const char* name() const override { return "dry"; }
  Ops& ops() override { return ops_; }
  Tier& tier(TierKind kind) override;
  Clock& clock() override { return clock_; }
  void synchronize() override {}
  bool computes() const override { return false; }
  DryOps& dry_ops() { return ops_; }

  /// Ranks take a GpuWorkspace and its rules of scratch from now on; `captures`: see
  /// captures_steps.
  void stand_for(const GpuFacts& gpu, DType activations, bool captures);
  std::int64_t step_rows(std::int64_t rows) const override;
  const GpuFacts* gpu() const override { return gpu_ ? &*gpu_ : nullptr; }
  void bind(GpuWorkspace* workspace) override;
  /// Notes the steps that a GPU would capture: the second of the same rows and activations.
  TensorView run_pass(const PassInput& pass, Arena& activations,
                      const ForwardPass& forward) override;
  /// Operations of each step captured so far.
  const std::vector<std::int64_t>& captured_calls() const { return captured_calls_; }
  void price(KvStream& stream) override;
  /// The clock waits for the card's link to the host.
  void swap(void* to, const void* from, Bytes size, HostCopy way) override;
  void price(WeightStream& stream) override;
  void price(HiddenStates& states) override;

 private:
  VirtualClock clock_;
  DryOps ops_;
  std::unique_ptr<Tier> device_, host_;
  std::optional<GpuFacts> gpu_;
  std::optional<DeviceCard> card_;  // when timed
  DType activations_ = DType::kBF16;
  bool captures_ = true;
  std::int64_t most_rows_ = 0;  // sequences of the workspace
  std::map<std::pair<const Arena*, std::int64_t>, std::int64_t> steps_;  // run, by engine and rows
  std::vector<std::int64_t> captured_calls_;
};

/// One rank of `size`, alone in its process: counts what it would move and charges the time for it.
class DryCommunicator final : public Communicator {
 public:
  DryCommunicator(int rank, int size, DryOps& ops) : rank_(rank), size_(size), ops_(ops) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  /// Ring: each rank moves 2 (n - 1) / n of the tensor (Patarasu and Yuan 2009).
  void all_reduce(TensorView x) override;
  /// Each rank receives the n - 1 parts of the others.
  void all_gather(TensorView out, TensorView x) override;
  void send(TensorView x, int to) override;
  void receive(TensorView x, int from) override;  // the sender's clock pays

 private:
  int rank_, size_;
  DryOps& ops_;
};

}  // namespace vramplan
