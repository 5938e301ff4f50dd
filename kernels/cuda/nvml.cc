#include "kernels/cuda/nvml.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>

namespace vramplan::cuda {
namespace {

// The binary interface of libnvidia-ml.so.1, as its API reference gives it; the header is not part
// of every toolkit. Source: NVML API Reference Guide, "Structs" and "Device Queries".
using Handle = void*;
constexpr int kSuccess = 0, kInsufficientSize = 7;
constexpr int kClockSm = 1, kClockMemory = 2;
constexpr unsigned long long kNotAvailable = ~0ULL;
struct MemoryV1 {
  unsigned long long total, free, used;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long used_bytes;
  unsigned gpu_instance, compute_instance;
};

class RealNvml final : public Nvml {
 public:
  explicit RealNvml(void* library) : library_(library) {
    find("nvmlInit_v2", init_);
    find("nvmlShutdown", shutdown_);
    find("nvmlDeviceGetHandleByUUID", by_uuid_);
    find("nvmlDeviceGetMemoryInfo", memory_);
    find("nvmlDeviceGetComputeRunningProcesses_v3", processes_);
    find("nvmlSystemGetProcessName", process_name_);
    find("nvmlDeviceGetClockInfo", clock_);
    running_ = init_ != nullptr && by_uuid_ != nullptr && init_() == kSuccess;
  }
  ~RealNvml() override {
    if (running_ && shutdown_ != nullptr) shutdown_();
    dlclose(library_);
  }
  bool running() const { return running_; }

  std::optional<MemoryInfo> memory(const std::string& uuid) override {
    const std::optional<Handle> device = find_device(uuid);
    MemoryV1 info{};
    if (!device || memory_ == nullptr || memory_(*device, &info) != kSuccess) return {};
    return MemoryInfo{{static_cast<std::int64_t>(info.free)},
                      {static_cast<std::int64_t>(info.total)}};
  }

  std::optional<std::vector<DeviceProcess>> processes(const std::string& uuid) override {
    const std::optional<Handle> device = find_device(uuid);
    if (!device || processes_ == nullptr) return {};
    std::vector<ProcessInfo> found(64);
    for (int attempt = 0; attempt < 4; ++attempt) {  // others may start between two calls
      auto count = static_cast<unsigned>(found.size());
      const int status = processes_(*device, &count, found.data());
      if (status == kSuccess) {
        found.resize(count);
        return named(found);
      }
      if (status != kInsufficientSize) return {};
      found.resize(found.size() * 4);
    }
    return {};
  }

  std::optional<DeviceClocks> clocks(const std::string& uuid) override {
    const std::optional<Handle> device = find_device(uuid);
    unsigned sm = 0, memory = 0;
    if (!device || clock_ == nullptr || clock_(*device, kClockSm, &sm) != kSuccess ||
        clock_(*device, kClockMemory, &memory) != kSuccess) {
      return {};
    }
    return DeviceClocks{static_cast<int>(sm), static_cast<int>(memory)};
  }

 private:
  template <class Function>
  void find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
  }
  std::optional<Handle> find_device(const std::string& uuid) {
    Handle device = nullptr;
    if (!running_ || by_uuid_(uuid.c_str(), &device) != kSuccess) return {};
    return device;
  }
  std::vector<DeviceProcess> named(const std::vector<ProcessInfo>& found) {
    std::vector<DeviceProcess> processes;
    for (const ProcessInfo& info : found) {
      DeviceProcess process;
      process.pid = info.pid;
      process.ours = info.pid == static_cast<unsigned>(getpid());
      if (info.used_bytes != kNotAvailable)
        process.bytes = Bytes{static_cast<std::int64_t>(info.used_bytes)};
      std::array<char, 256> name{};
      if (process_name_ != nullptr &&
          process_name_(info.pid, name.data(), static_cast<unsigned>(name.size() - 1)) ==
              kSuccess) {
        process.name = printable(name.data());
      }
      processes.push_back(std::move(process));
    }
    return processes;
  }

  void* library_;
  bool running_ = false;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  int (*by_uuid_)(const char*, Handle*) = nullptr;
  int (*memory_)(Handle, MemoryV1*) = nullptr;
  int (*processes_)(Handle, unsigned*, ProcessInfo*) = nullptr;
  int (*process_name_)(unsigned, char*, unsigned) = nullptr;
  int (*clock_)(Handle, int, unsigned*) = nullptr;
};

}  // namespace

std::unique_ptr<Nvml> open_nvml() {
  void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto nvml = std::make_unique<RealNvml>(library);
  if (!nvml->running()) return nullptr;
  return nvml;
}

}  // namespace vramplan::cuda
