#include "executor/driver_memory.h"

#include <algorithm>
#include <utility>

namespace vramplan {

DriverMemory::DriverMemory(cuda::Runtime& runtime, int device)
    : runtime_(runtime), device_(device) {
  const auto before = runtime.outside_memory(device);
  if (!before) return;
  seen_before_ = true;
  before_ = *before;
  samples_.push_back({"before the context", before->free, before->total, {}, before->used()});
}

/// By NVML per process; empty when it does not name us (another pid namespace, no right to ask).
std::optional<Bytes> DriverMemory::our_bytes() const {
  const auto processes = runtime_.processes(device_);
  if (!processes) return {};
  for (const cuda::DeviceProcess& process : *processes) {
    if (process.ours && process.bytes) return process.bytes;
  }
  return {};
}

Bytes DriverMemory::look(std::string moment) {
  const cuda::MemoryInfo info = runtime_.memory();
  DriverSample sample{std::move(moment), info.free, info.total, {}, {}};
  const std::optional<Bytes> named = our_bytes();
  per_process_ = named.has_value();
  if (named) {
    sample.ours = *named;
  } else {
    // What NVML counts beyond CUDA's total is reserved by the driver and used by nobody.
    const Bytes reserved = seen_before_ ? before_.total - info.total : Bytes{};
    others_before_ = std::max(Bytes{}, before_.used() - reserved);
    sample.ours = std::max(Bytes{}, info.used() - others_before_);
  }
  sample.others = info.used() - sample.ours;
  const Bytes before = samples_.empty() ? Bytes{} : samples_.back().ours;
  samples_.push_back(sample);
  return sample.ours - before;
}

Bytes DriverMemory::most_ours() const {
  Bytes most;
  for (const DriverSample& sample : samples_) most = std::max(most, sample.ours);
  return most;
}

Bytes DriverMemory::taken_since() const {
  const DriverSample& now = last();
  if (!seen_before_) return now.total - now.free;
  const Bytes reserved = before_.total - now.total;  // by the driver, used by nobody
  return now.total - now.free - std::max(Bytes{}, before_.used() - reserved);
}

const char* DriverMemory::method() const {
  if (per_process_) return "NVML, bytes of this process";
  return seen_before_ ? "cudaMemGetInfo less what NVML saw used before the context"
                      : "cudaMemGetInfo; nothing told other processes apart";
}

std::vector<std::string> DriverMemory::named_others() const {
  std::vector<std::string> names;
  const auto processes = runtime_.processes(device_);
  if (!processes) return names;
  for (const cuda::DeviceProcess& process : *processes) {
    if (process.ours) continue;
    std::string text = (process.name.empty() ? "a process" : process.name) + " (pid " +
                       std::to_string(process.pid) + ")";
    text += process.bytes ? " " + to_text(*process.bytes) : " unknown bytes";
    names.push_back(std::move(text));
  }
  return names;
}

}  // namespace vramplan
