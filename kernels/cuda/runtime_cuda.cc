#include "kernels/cuda/runtime.h"

#if VRAMPLAN_CUDA
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

#include "kernels/cuda/gemm_lt.h"
#include "kernels/cuda/nvml.h"

namespace vramplan::cuda {
namespace {

Status status_of(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return Status::kOutOfMemory;
    case cudaErrorNoDevice:
      return Status::kNoDevice;
    case cudaErrorInsufficientDriver:
      return Status::kInsufficientDriver;
    case cudaErrorInvalidValue:
      return Status::kInvalidValue;
    case cudaErrorInvalidDevice:
      return Status::kInvalidDevice;
    case cudaErrorInitializationError:
      return Status::kInitializationError;
    case cudaErrorIllegalAddress:
      return Status::kIllegalAddress;
    case cudaErrorLaunchFailure:
      return Status::kLaunchFailure;
    case cudaErrorLaunchTimeout:
      return Status::kLaunchTimeout;
    case cudaErrorECCUncorrectable:
      return Status::kEccUncorrectable;
    case cudaErrorDevicesUnavailable:
      return Status::kDevicesUnavailable;
    case cudaErrorStreamCaptureInvalidated:
      return Status::kCaptureInvalidated;
    default:
      return Status::kUnknown;
  }
}

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // a sticky error would be reported once more by the next call
  call_failed(call, status_of(error), cudaGetErrorString(error));
}

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t event_of(Event event) { return static_cast<cudaEvent_t>(event.handle); }
std::size_t size_of(Bytes bytes) { return static_cast<std::size_t>(bytes.n); }

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    char two[4];
    std::snprintf(two, sizeof two, "%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += two;
  }
  return text;
}

class CudaRuntime final : public Runtime {
 public:
  CudaRuntime() : nvml_(open_nvml()) {}

  int device_count(std::string& why_none) override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
      cudaGetLastError();
      why_none = cudaGetErrorString(error);
      return 0;
    }
    if (count == 0) why_none = "the driver reports no device";
    return count;
  }

  DeviceProperties properties(int device) override {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, device), "cudaGetDeviceProperties");
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    DeviceProperties properties;
    properties.name = p.name;
    properties.uuid = uuid_text(p.uuid);
    properties.driver = std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
    properties.total = {static_cast<std::int64_t>(p.totalGlobalMem)};
    properties.multiprocessors = p.multiProcessorCount;
    properties.major = p.major;
    properties.minor = p.minor;
    properties.l2_cache = {p.l2CacheSize};
    return properties;
  }

  std::optional<MemoryInfo> outside_memory(int device) override {
    if (nvml_ == nullptr) return {};
    return nvml_->memory(properties(device).uuid);
  }
  std::optional<std::vector<DeviceProcess>> processes(int device) override {
    if (nvml_ == nullptr) return {};
    return nvml_->processes(properties(device).uuid);
  }
  std::optional<DeviceClocks> clocks(int device) override {
    if (nvml_ == nullptr) return {};
    return nvml_->clocks(properties(device).uuid);
  }

  void use_device(int device) override {
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaFree(nullptr), "cudaFree(0), which makes the context");
  }
  MemoryInfo memory() override {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return {{static_cast<std::int64_t>(free)}, {static_cast<std::int64_t>(total)}};
  }
  void* allocate(Bytes size) override {
    void* data = nullptr;
    check(cudaMalloc(&data, size_of(size)),
          ("cudaMalloc of " + std::to_string(size.n) + " B").c_str());
    return data;
  }
  void release(void* data) noexcept override { cudaFree(data); }
  MemoryHandle export_memory(void* data) override {
    cudaIpcMemHandle_t driver{};
    check(cudaIpcGetMemHandle(&driver, data), "cudaIpcGetMemHandle");
    static_assert(sizeof driver == sizeof(MemoryHandle));
    MemoryHandle handle;
    std::memcpy(handle.bytes.data(), &driver, sizeof driver);
    return handle;
  }
  void* open_memory(const MemoryHandle& handle, Bytes) override {
    cudaIpcMemHandle_t driver{};
    std::memcpy(&driver, handle.bytes.data(), sizeof driver);
    void* data = nullptr;
    check(cudaIpcOpenMemHandle(&data, driver, cudaIpcMemLazyEnablePeerAccess),
          "cudaIpcOpenMemHandle");
    return data;
  }
  void close_memory(void* data) noexcept override { cudaIpcCloseMemHandle(data); }
  void* allocate_pinned(Bytes size) override {
    void* data = nullptr;
    check(cudaHostAlloc(&data, size_of(size), cudaHostAllocDefault),
          ("cudaHostAlloc of " + std::to_string(size.n) + " B").c_str());
    return data;
  }
  void release_pinned(void* data) noexcept override { cudaFreeHost(data); }

  Stream make_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return {stream};
  }
  void destroy(Stream stream) noexcept override { cudaStreamDestroy(stream_of(stream)); }
  void synchronize(Stream stream) override {
    check(cudaStreamSynchronize(stream_of(stream)), "cudaStreamSynchronize");
  }
  void copy(Stream stream, void* to, const void* from, Bytes size, CopyKind kind) override {
    const cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                    cudaMemcpyDeviceToDevice};
    check(
        cudaMemcpyAsync(to, from, size_of(size), kinds[static_cast<int>(kind)], stream_of(stream)),
        "cudaMemcpyAsync");
  }
  void fill(Stream stream, void* to, int byte, Bytes size) override {
    check(cudaMemsetAsync(to, byte, size_of(size), stream_of(stream)), "cudaMemsetAsync");
  }

  Event make_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    return {event};
  }
  void destroy(Event event) noexcept override { cudaEventDestroy(event_of(event)); }
  void record(Event event, Stream stream) override {
    check(cudaEventRecord(event_of(event), stream_of(stream)), "cudaEventRecord");
  }
  void wait(Stream stream, Event event) override {
    check(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "cudaStreamWaitEvent");
  }
  void synchronize(Event event) override {
    check(cudaEventSynchronize(event_of(event)), "cudaEventSynchronize");
  }
  Seconds elapsed(Event begin, Event end) override {
    synchronize(end);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)),
          "cudaEventElapsedTime");
    return {static_cast<double>(milliseconds) * 1e-3};
  }

  void begin_capture(Stream stream) override {
    check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
  }
  Graph end_capture(Stream stream) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_of(stream), &graph), "cudaStreamEndCapture");
    std::size_t nodes = 0;
    cudaGraphExec_t instance = nullptr;
    cudaError_t error = cudaGraphGetNodes(graph, nullptr, &nodes);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&instance, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "cudaGraphInstantiate");
    error = cudaGraphUpload(instance, stream_of(stream));
    if (error != cudaSuccess) cudaGraphExecDestroy(instance);
    check(error, "cudaGraphUpload");
    return {instance, static_cast<std::int64_t>(nodes)};
  }
  void abandon_capture(Stream stream) noexcept override {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_of(stream), &graph) == cudaSuccess && graph != nullptr) {
      cudaGraphDestroy(graph);
    }
    cudaGetLastError();
  }
  void launch(Graph graph, Stream stream) override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle), stream_of(stream)),
          "cudaGraphLaunch");
  }
  void destroy(Graph graph) noexcept override {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph.handle));
  }

  void make_gemm() override {
    if (gemm_ == nullptr) gemm_ = make_gemm_lt();
  }
  void gemm(Stream stream, const Gemm& call) override {
    make_gemm();
    gemm_->run(stream, call);
  }

 private:
  std::unique_ptr<Nvml> nvml_;
  std::unique_ptr<GemmLt> gemm_;
};

}  // namespace

std::unique_ptr<Runtime> make_cuda_runtime() { return std::make_unique<CudaRuntime>(); }

}  // namespace vramplan::cuda

#else

namespace vramplan::cuda {

std::unique_ptr<Runtime> make_cuda_runtime() {
  throw Error(ErrorCode::kNoDevice,
              "this build has no CUDA (no toolkit was found when it was configured)")
      .at("", "--backend")
      .help("configure again where nvcc is installed");
}

}  // namespace vramplan::cuda

#endif
