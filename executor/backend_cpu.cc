#include "executor/backend.h"
#include "executor/process_memory.h"
#include "kernels/cpu/cpu_ops.h"

namespace vramplan {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Bytes capacity, DType linear_inputs)
      : ops_(make_cpu_ops(threads, linear_inputs)),
        timed_(*ops_, clock_),
        device_(make_host_tier(TierKind::kDevice, capacity)),
        host_(make_host_tier(TierKind::kHost, machine_available())) {}

  const char* name() const override { return "cpu"; }
  Ops& ops() override { return timed_; }
  void trace_to(Trace* trace) override { timed_.trace_to(trace); }
  OpTimings take_timings() override { return timed_.take(); }
  Tier& tier(TierKind kind) override {
    if (kind == TierKind::kDisk) {
      throw Error(ErrorCode::kUnsupported, "a disk tier that hands out memory");
    }
    return kind == TierKind::kHost ? *host_ : *device_;
  }
  Clock& clock() override { return clock_; }
  void synchronize() override {}  // operations return when they are done
  bool computes() const override { return true; }

 private:
  SteadyClock clock_;
  std::unique_ptr<Ops> ops_;
  TimedOps timed_;
  std::unique_ptr<Tier> device_, host_;  // the same memory, two accounts
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads, Bytes capacity, DType linear_inputs) {
  return std::make_unique<CpuBackend>(threads, capacity, linear_inputs);
}

}  // namespace vramplan
