#pragma once
// Runtime: the seam to the CUDA driver, runtime and cuBLASLt: every call of ours goes through one
// of these functions. The real one is runtime_cuda.cc; tests put a fake in its place (virtual
// devices, other tenants, failing calls). Free of CUDA headers. Calls on a stream only enqueue.
// Errors: kOutOfPlan when the device has no memory left, kNoDevice without a device, kIo naming the
// call and the driver's code for everything else. Functions that give something back never throw.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "modelcards/units.h"

namespace vramplan::cuda {

struct DeviceProperties {
  std::string name, uuid, driver;  // uuid: GPU-xxxxxxxx-...; driver: "13.0"
  Bytes total;
  int multiprocessors = 0;
  int major = 0, minor = 0;  // compute capability
  Bytes l2_cache;
};

struct MemoryInfo {
  Bytes free, total;
  Bytes used() const { return total - free; }
};

/// A process that holds memory of the device, as NVML names it.
struct DeviceProcess {
  std::int64_t pid = 0;
  std::string name;
  std::optional<Bytes> bytes;  // empty: the driver does not say (some containers)
  bool ours = false;
};

struct DeviceClocks {
  int sm_mhz = 0, memory_mhz = 0;
};

struct Event {
  void* handle = nullptr;
};
struct Graph {  // instantiated
  void* handle = nullptr;
  std::int64_t nodes = 0;
};

/// Names an allocation for other processes: the driver's bytes, which they may copy.
struct MemoryHandle {
  std::array<std::byte, 64> bytes{};
};

enum class CopyKind : std::uint8_t { kToDevice, kToHost, kOnDevice };

/// out[tokens, rows of weight] = in[tokens, n] * weight[m, n]^T, accumulated in f32. A row of `out`
/// is `out_stride` elements after the one before, so that a tile of a wide result can be made.
/// fp8 operands have a scale a row, which multiply the sum: out[t, m] = in_scales[t] *
/// weight_scales[m] * sum. They need compute capability 8.9, rows of multiples of 16 elements,
/// multiples of 16 outputs, and out in f16, bf16 or f32.
struct Gemm {
  TensorView out, in, weight;  // in and weight: one format of f32 f16 bf16 fp8; out: that or f32
  std::int64_t out_stride = 0;
  TensorView workspace;
  const float* in_scales = nullptr;      // [tokens] in device memory, of fp8 only
  const float* weight_scales = nullptr;  // [m]
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  /// 0 with the reason in `why_none` when there is none; never throws.
  virtual int device_count(std::string& why_none) = 0;
  virtual DeviceProperties properties(int device) = 0;
  /// What NVML sees of the device, before there is a context; empty without NVML.
  virtual std::optional<MemoryInfo> outside_memory(int device) = 0;
  /// Processes on the device; empty without NVML.
  virtual std::optional<std::vector<DeviceProcess>> processes(int device) = 0;
  virtual std::optional<DeviceClocks> clocks(int device) = 0;

  /// Makes the primary context of the device and uses it from now on.
  virtual void use_device(int device) = 0;
  /// cudaMemGetInfo; makes the context when there is none.
  virtual MemoryInfo memory() = 0;
  virtual void* allocate(Bytes size) = 0;
  virtual void release(void* data) noexcept = 0;
  /// For other processes that use the same device; `data` as allocate gave it.
  virtual MemoryHandle export_memory(void* data) = 0;
  /// An allocation of another process: the same memory, mapped here. It is to be closed before its
  /// owner releases it. Source: CUDA runtime API, cudaIpcOpenMemHandle.
  virtual void* open_memory(const MemoryHandle& handle, Bytes size) = 0;
  virtual void close_memory(void* data) noexcept = 0;
  virtual void* allocate_pinned(Bytes size) = 0;
  virtual void release_pinned(void* data) noexcept = 0;

  virtual Stream make_stream() = 0;
  virtual void destroy(Stream stream) noexcept = 0;
  virtual void synchronize(Stream stream) = 0;
  virtual void copy(Stream stream, void* to, const void* from, Bytes size, CopyKind kind) = 0;
  virtual void fill(Stream stream, void* to, int byte, Bytes size) = 0;

  virtual Event make_event() = 0;
  virtual void destroy(Event event) noexcept = 0;
  virtual void record(Event event, Stream stream) = 0;
  virtual void wait(Stream stream, Event event) = 0;
  virtual void synchronize(Event event) = 0;
  /// Between two recorded events of one stream; waits for the second.
  virtual Seconds elapsed(Event begin, Event end) = 0;

  /// Between these two, calls on the stream are written down instead of run.
  virtual void begin_capture(Stream stream) = 0;
  virtual Graph end_capture(Stream stream) = 0;
  /// Ends a capture after a failure and forgets it.
  virtual void abandon_capture(Stream stream) noexcept = 0;
  virtual void launch(Graph graph, Stream stream) = 0;
  virtual void destroy(Graph graph) noexcept = 0;

  /// Makes the cuBLASLt handle. Errors: kUnsupported when the library is not there.
  virtual void make_gemm() = 0;
  virtual void gemm(Stream stream, const Gemm& call) = 0;
};

/// The driver of this machine. Errors: kNoDevice in a build without a CUDA toolkit.
std::unique_ptr<Runtime> make_cuda_runtime();

/// What a call can answer, reduced to what we tell apart; names are the driver's.
enum class Status : std::uint8_t {
  kOutOfMemory,
  kNoDevice,
  kInsufficientDriver,
  kInvalidValue,
  kInvalidDevice,
  kInitializationError,
  kIllegalAddress,
  kLaunchFailure,
  kLaunchTimeout,
  kEccUncorrectable,
  kDevicesUnavailable,
  kCaptureInvalidated,
  kUnknown,
};
const char* name_of(Status status);  // "cudaErrorMemoryAllocation" ...
/// Throws the Error of a failed call: kOutOfPlan, kNoDevice or kIo.
[[noreturn]] void call_failed(const std::string& call, Status status, const std::string& detail);

/// Bytes of workspace cuBLAS recommends: 32 MiB on compute capability 9.x and 10.x, 12 MiB on 12.x,
/// 4 MiB before. Source: cuBLAS documentation, cublasSetWorkspace.
Bytes gemm_workspace_bytes(int major);

}  // namespace vramplan::cuda
