#include "executor/run_cuda_replicas.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "executor/cuda_replica.h"
#include "executor/environment.h"
#include "executor/measurement_wire.h"
#include "executor/process_memory.h"
#include "executor/replica_group.h"
#include "executor/replica_merge.h"
#include "executor/run_cuda.h"
#include "executor/support.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/probe.h"

namespace vramplan {
namespace {

/// An offer in pages that forked processes share.
class SharedOffer {
 public:
  SharedOffer() {
    void* const pages = mmap(nullptr, sizeof(WeightsOffer), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
      throw Error(ErrorCode::kIo, std::string("pages to share: ") + std::strerror(errno));
    }
    offer_ = new (pages) WeightsOffer{};
  }
  ~SharedOffer() { munmap(offer_, sizeof(WeightsOffer)); }
  SharedOffer(const SharedOffer&) = delete;
  SharedOffer& operator=(const SharedOffer&) = delete;
  WeightsOffer* get() const { return offer_; }

 private:
  WeightsOffer* offer_ = nullptr;
};

std::string run_one(const CudaReplica& replica, const Decisions& decisions,
                    const ModelSource& source, const DeviceCard& device, RunRequest request,
                    const MakeCudaRuntime& make_runtime, const cuda::KernelTable* kernels) {
  if (!replica.first()) request.on_token = nullptr;
  if (!replica.first()) request.on_progress = nullptr;
  request.memory = nullptr;
  const std::unique_ptr<cuda::Runtime> runtime = make_runtime();
  std::string why_none;
  if (runtime->device_count(why_none) == 0) {
    throw Error(ErrorCode::kNoDevice, "no CUDA device: " + why_none).at("", "--backend");
  }
  if (kernels == nullptr) {
    throw Error(ErrorCode::kUnsupported, "this build has no CUDA kernels")
        .at("", "--backend")
        .help("build where nvcc is installed, or run with --backend cpu or dry");
  }
  return packed_measurement(
      run_cuda(decisions, source, device, request, *runtime, *kernels, &replica));
}

Measurement merged(const std::vector<Measurement>& replicas, int threads) {
  std::vector<Ledger> ledgers;
  std::vector<Timings> timings;
  std::vector<std::vector<MemorySample>> samples;
  Measurement out = replicas.front();
  out.replicas.clear();
  for (const Measurement& m : replicas) {
    ledgers.push_back(m.observed);
    timings.push_back(m.timings);
    samples.push_back(m.samples);
    VRAMPLAN_CHECK(m.replicas.size() == 1);
    out.replicas.push_back(m.replicas.front());
    out.replicas.back().ttft = m.timings.ttft;
    out.replicas.back().tpot = m.timings.tpot;
    out.replicas.back().same_output = m.output == replicas.front().output;
  }
  out.observed = added_up(ledgers, ReplicasOn::kGpu);
  const Seconds load = out.timings.load;  // of the one that loaded
  out.timings = together(timings);
  out.timings.load = load;
  Bytes weights;
  for (const LedgerRow& row : out.observed.rows()) {
    if (row.category == Category::kWeights || row.name == "arena padding" ||
        row.name == "f32 vectors") {
      weights += row.bytes;
    }
  }
  out.samples = together(samples, weights, {});
  RankCapacity& capacity = out.capacity.front();
  capacity.rows = out.observed.peak(0, TierKind::kDevice);
  capacity.unaccounted = capacity.capacity - capacity.free - capacity.rows;
  const std::string machine = out.environment.machine;
  out.environment = this_environment("cuda", threads);
  if (!machine.empty()) out.environment.machine = machine;
  return out;
}

}  // namespace

Measurement run_cuda_replicas(const Decisions& decisions, const ModelSource& source,
                              const DeviceCard& device, const RunRequest& given,
                              const MakeCudaRuntime& make_runtime,
                              const cuda::KernelTable* kernels) {
  refuse_unsupported(source, decisions, true, given.random_weights, true);
  RunRequest request = given;
  if (request.process_base.n == 0) {
    const Bytes now = this_process_memory().now().resident;
    request.process_base = std::max(Bytes{1}, now - request.tokenizer);
  }
  const SharedOffer offer;
  ReplicaGroup group(
      static_cast<int>(decisions.replicas),
      [&](int number, const std::function<void()>& meet) {
        return run_one({number, meet, offer.get()}, decisions, source, device, request,
                       make_runtime, kernels);
      },
      request.on_wait);
  for (int meeting = 0; meeting < kCudaReplicaMeetings; ++meeting) {
    group.gather();
    group.let_go();
  }
  std::vector<Measurement> replicas;
  for (const std::string& text : group.results()) replicas.push_back(unpacked_measurement(text));
  return merged(replicas, decisions.threads);
}

Measurement run_cuda_replicas(const Decisions& decisions, const ModelSource& source,
                              const DeviceCard& device, const RunRequest& request) {
  return run_cuda_replicas(decisions, source, device, request, cuda::driver().make_runtime,
                           cuda::driver().kernels());
}

CudaDevicesSeen cuda_devices_seen() {
  ReplicaGroup group(
      1,
      [](int, const std::function<void()>&) {
        const cuda::Probe found = cuda::probe();
        const std::string first = found.devices.empty() ? "" : found.devices.front().name;
        return std::to_string(found.devices.size()) + '\n' + first + '\n' + found.why_none;
      },
      {});
  const std::string text = group.results().front();
  const std::size_t one = text.find('\n'), two = text.find('\n', one + 1);
  VRAMPLAN_CHECK(one != std::string::npos && two != std::string::npos);
  return {std::stoll(text.substr(0, one)), text.substr(one + 1, two - one - 1),
          text.substr(two + 1)};
}

}  // namespace vramplan
