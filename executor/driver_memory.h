#pragma once
// DriverMemory: what the driver says this process and others hold of a device, looked at before and
// after each step of a run. Nothing here comes from our own accounts.
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace vramplan {

struct DriverSample {
  std::string moment;
  Bytes free, total;
  Bytes ours;    // of this process
  Bytes others;  // total - free - ours
};

class DriverMemory {
 public:
  /// Looks at the device from outside, before this process has a context there.
  DriverMemory(cuda::Runtime& runtime, int device);

  /// A sample now; its bytes above the sample before. From use_device on.
  Bytes look(std::string moment);
  const std::vector<DriverSample>& samples() const { return samples_; }
  Bytes most_ours() const;
  /// All that was taken since this looked at the device from outside, by whomever: of processes
  /// that run together and began after.
  Bytes taken_since() const;
  const DriverSample& last() const { return samples_.back(); }
  /// Bytes others held before this process came, 0 when nothing could see them.
  Bytes others_before() const { return others_before_; }
  /// "NVML, per process" or how else ours and theirs were told apart.
  const char* method() const;
  /// "python (pid 4711) 12.00 GiB": processes on the device that are not this one.
  std::vector<std::string> named_others() const;

 private:
  std::optional<Bytes> our_bytes() const;

  cuda::Runtime& runtime_;
  int device_;
  bool seen_before_ = false, per_process_ = false;
  cuda::MemoryInfo before_;
  Bytes others_before_;
  std::vector<DriverSample> samples_;
};

}  // namespace vramplan
