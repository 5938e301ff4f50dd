#include "tests/fake_cuda/fake_runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/half.h"

namespace vramplan::cuda {

struct FakeRuntime::GraphState {
  std::vector<Work> work;
  Bytes charged;
  int device = 0;
};

struct FakeRuntime::EventState {
  std::int64_t recorded = 0, reached = 0;  // counts of record calls and of records run
  double at = 0;                           // seconds of the stream when last reached
};

struct FakeRuntime::StreamState {
  FakeRuntime* runtime = nullptr;
  std::deque<Work> queue;
  double now = 0;
  bool capturing = false;
  std::vector<Work> captured;
};

namespace {

constexpr double kKernelSeconds = 2e-6, kCopyBytesPerSecond = 5e10, kMemoryBytesPerSecond = 4e12;
constexpr double kFlopsPerSecond = 5e14;
constexpr std::int64_t kPoisonUpTo = 64 << 20;

float load(const TensorView& t, std::int64_t at) {
  switch (t.dtype) {
    case DType::kF32:
      return static_cast<const float*>(t.data)[at];
    case DType::kF16:
      return cpu::f16_to_f32(static_cast<const std::uint16_t*>(t.data)[at]);
    default:
      return cpu::bf16_to_f32(static_cast<const std::uint16_t*>(t.data)[at]);
  }
}

void store(const TensorView& t, std::int64_t at, float value) {
  switch (t.dtype) {
    case DType::kF32:
      static_cast<float*>(t.data)[at] = value;
      return;
    case DType::kF16:
      static_cast<std::uint16_t*>(t.data)[at] = cpu::f32_to_f16(value);
      return;
    default:
      static_cast<std::uint16_t*>(t.data)[at] = cpu::f32_to_bf16(value);
  }
}

void multiply(const Gemm& call) {
  for (std::int64_t t = 0; t < call.in.rows; ++t) {
    for (std::int64_t o = 0; o < call.weight.rows; ++o) {
      float sum = 0;
      for (std::int64_t i = 0; i < call.in.columns; ++i) {
        sum += load(call.in, t * call.in.columns + i) * load(call.weight, o * call.in.columns + i);
      }
      store(call.out, t * call.out_stride + o, sum);
    }
  }
}

bool is_16_or_32_bit_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

FakeRuntime::FakeRuntime(std::vector<FakeDevice> devices, std::uint64_t seed) : random_(seed) {
  for (FakeDevice& facts : devices) devices_.push_back({std::move(facts), {}, false, false, false});
}

FakeRuntime::~FakeRuntime() {
  while (!allocations_.empty()) unmap(const_cast<std::byte*>(allocations_.begin()->first));
  for (StreamState* stream : streams_) delete stream;
}

void FakeRuntime::fail_call(std::int64_t call, Status status, bool persistent) {
  fail_at_ = call;
  fail_status_ = status;
  fail_persistent_ = persistent;
}

void FakeRuntime::enter(const char* call) {
  ++calls_;
  log_.emplace_back(call);
  const bool now = calls_ == fail_at_ || (fail_persistent_ && fail_at_ > 0 && calls_ > fail_at_);
  if (now) call_failed(call, fail_status_, "call " + std::to_string(calls_) + " by script");
}

FakeRuntime::Device& FakeRuntime::device() {
  Device& d = devices_[static_cast<std::size_t>(current_)];
  if (!d.context) {
    d.context = true;
    take(d, d.facts.context, "the context");
  }
  return d;
}

Bytes FakeRuntime::tenant() const {
  const auto after = tenants_.upper_bound(calls_);
  return after == tenants_.begin() ? Bytes{} : std::prev(after)->second;
}

void FakeRuntime::take(Device& d, Bytes bytes, const char* what) {
  if (d.used + tenant() + bytes > d.facts.capacity) {
    call_failed(what, Status::kOutOfMemory, std::to_string(bytes.n) + " B");
  }
  d.used += bytes;
}

int FakeRuntime::device_count(std::string& why_none) {
  if (devices_.empty()) why_none = "the fake has no device";
  return static_cast<int>(devices_.size());
}

DeviceProperties FakeRuntime::properties(int index) {
  enter("cudaGetDeviceProperties");
  const FakeDevice& f = devices_.at(static_cast<std::size_t>(index)).facts;
  return {f.name,
          "GPU-fake-" + std::to_string(index),
          "13.0",
          f.capacity,
          f.multiprocessors,
          f.major,
          f.minor,
          Bytes{50 << 20}};
}

std::optional<MemoryInfo> FakeRuntime::outside_memory(int index) {
  const Device& d = devices_.at(static_cast<std::size_t>(index));
  if (!d.facts.nvml) return {};
  return MemoryInfo{d.facts.capacity - d.used - tenant(), d.facts.capacity};
}

std::optional<std::vector<DeviceProcess>> FakeRuntime::processes(int index) {
  const Device& d = devices_.at(static_cast<std::size_t>(index));
  if (!d.facts.nvml) return {};
  std::vector<DeviceProcess> all;
  if (d.used.n > 0) all.push_back({1, "this test", d.used, true});
  if (tenant().n > 0) all.push_back({4711, "another-tenant", tenant(), false});
  return all;
}

std::optional<DeviceClocks> FakeRuntime::clocks(int index) {
  if (!devices_.at(static_cast<std::size_t>(index)).facts.nvml) return {};
  return DeviceClocks{1980, 3201};
}

void FakeRuntime::use_device(int index) {
  enter("cudaSetDevice");
  if (index < 0 || index >= static_cast<int>(devices_.size())) {
    call_failed("cudaSetDevice", Status::kInvalidDevice, "");
  }
  current_ = index;
  device();
}

MemoryInfo FakeRuntime::memory() {
  enter("cudaMemGetInfo");
  const Device& d = device();
  return {d.facts.capacity - d.used - tenant(), d.facts.capacity};
}

void* FakeRuntime::map_pages(Bytes size, Bytes charged, bool pinned) {
  const auto length = static_cast<std::size_t>(std::max<std::int64_t>(size.n, 1));
  void* const data = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  VRAMPLAN_CHECK(data != MAP_FAILED);
  // What nobody wrote is NaN in every format, so that it cannot pass for a zero.
  const std::size_t poisoned = pinned ? std::min<std::size_t>(length, 1 << 16) : length;
  if (size.n <= kPoisonUpTo) std::memset(data, 0xff, poisoned);
  allocations_[static_cast<std::byte*>(data)] = {size, charged, current_, pinned};
  return data;
}

void FakeRuntime::unmap(void* data) noexcept {
  const auto found = allocations_.find(static_cast<std::byte*>(data));
  VRAMPLAN_CHECK(found != allocations_.end());  // freed twice, or never allocated
  devices_[static_cast<std::size_t>(found->second.device)].used -= found->second.charged;
  munmap(data, static_cast<std::size_t>(std::max<std::int64_t>(found->second.size.n, 1)));
  allocations_.erase(found);
}

void* FakeRuntime::allocate(Bytes size) {
  enter("cudaMalloc");
  Device& d = device();
  const Bytes charged = round_up(size, d.facts.granularity);
  take(d, charged, "cudaMalloc");
  return map_pages(size, charged, false);
}

void FakeRuntime::release(void* data) noexcept {
  if (data == nullptr) return;
  while (step()) {  // cudaFree waits for the device
  }
  unmap(data);
}

void* FakeRuntime::allocate_pinned(Bytes size) {
  enter("cudaHostAlloc");
  device();
  return map_pages(size, {}, true);
}

void FakeRuntime::release_pinned(void* data) noexcept { release(data); }

std::map<const std::byte*, FakeRuntime::Allocation>::const_iterator FakeRuntime::find(
    const void* data) const {
  auto after = allocations_.upper_bound(static_cast<const std::byte*>(data));
  if (after == allocations_.begin()) return allocations_.end();
  --after;
  const auto* const at = static_cast<const std::byte*>(data);
  return at < after->first + after->second.size.n ? after : allocations_.end();
}

bool FakeRuntime::is_device(const void* data, std::int64_t size) const {
  const auto found = find(data);
  if (found == allocations_.end() || found->second.pinned) return false;
  return static_cast<const std::byte*>(data) + size <= found->first + found->second.size.n;
}

void FakeRuntime::check_range(const void* data, Bytes size, bool on_device,
                              const char* what) const {
  const bool inside = is_device(data, size.n);
  if (inside == on_device) return;
  call_failed(what, Status::kIllegalAddress,
              on_device ? "not inside a device allocation" : "host memory expected");
}

Stream FakeRuntime::make_stream() {
  enter("cudaStreamCreate");
  device();
  auto* const stream = new StreamState;
  stream->runtime = this;
  streams_.insert(stream);
  ++objects_;
  return {stream};
}

void FakeRuntime::destroy(Stream stream) noexcept {
  if (stream.handle == nullptr) return;
  auto* const state = static_cast<StreamState*>(stream.handle);
  run_until([&] { return state->queue.empty(); });
  streams_.erase(state);
  delete state;
  --objects_;
}

void FakeRuntime::push(StreamState& stream, Work work) {
  if (stream.capturing)
    stream.captured.push_back(std::move(work));
  else
    stream.queue.push_back(std::move(work));
}

bool FakeRuntime::step() {
  std::vector<StreamState*> ready;
  for (StreamState* stream : streams_) {
    if (stream->queue.empty()) continue;
    const Work& work = stream->queue.front();
    if (!work.ready || work.ready()) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
  StreamState& stream = *ready[(random_ >> 33) % ready.size()];
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  stream.now += work.seconds;
  work.run();
  return true;
}

void FakeRuntime::run_until(const std::function<bool()>& done) {
  while (!done()) VRAMPLAN_CHECK(step());  // streams that wait for each other for ever
}

void FakeRuntime::synchronize(Stream stream) {
  enter("cudaStreamSynchronize");
  auto* const state = static_cast<StreamState*>(stream.handle);
  if (state->capturing) {
    call_failed("cudaStreamSynchronize", Status::kCaptureInvalidated, "during a capture");
  }
  run_until([&] { return state->queue.empty(); });
}

void FakeRuntime::enqueue(Stream stream, std::function<void()> work) {
  auto* const state = static_cast<StreamState*>(stream.handle);
  FakeRuntime& runtime = *state->runtime;
  runtime.enter("cudaLaunchKernel");
  Device& d = runtime.device();
  if (!d.modules) {
    d.modules = true;
    runtime.take(d, d.facts.modules, "loading the kernels");
  }
  runtime.push(*state, {nullptr, std::move(work), kKernelSeconds});
}

void FakeRuntime::copy(Stream stream, void* to, const void* from, Bytes size, CopyKind kind) {
  enter("cudaMemcpyAsync");
  check_range(to, size, kind != CopyKind::kToHost, "cudaMemcpyAsync to");
  check_range(from, size, kind != CopyKind::kToDevice, "cudaMemcpyAsync from");
  auto& state = *static_cast<StreamState*>(stream.handle);
  const auto length = static_cast<std::size_t>(size.n);
  const double rate = kind == CopyKind::kOnDevice ? kMemoryBytesPerSecond : kCopyBytesPerSecond;
  const double seconds = static_cast<double>(size.n) / rate + 1e-6;
  const bool pageable = kind != CopyKind::kOnDevice &&
                        find(kind == CopyKind::kToDevice ? from : to) == allocations_.end();
  if (pageable && kind == CopyKind::kToDevice) {  // the driver reads it before it returns
    std::vector<std::byte> snapshot(static_cast<const std::byte*>(from),
                                    static_cast<const std::byte*>(from) + length);
    push(state, {nullptr, [=] { std::memcpy(to, snapshot.data(), length); }, seconds});
    return;
  }
  push(state, {nullptr, [=] { std::memcpy(to, from, length); }, seconds});
  if (pageable && !state.capturing) run_until([&] { return state.queue.empty(); });
}

void FakeRuntime::fill(Stream stream, void* to, int byte, Bytes size) {
  enter("cudaMemsetAsync");
  check_range(to, size, true, "cudaMemsetAsync");
  push(*static_cast<StreamState*>(stream.handle),
       {nullptr, [=] { std::memset(to, byte, static_cast<std::size_t>(size.n)); },
        static_cast<double>(size.n) / kMemoryBytesPerSecond + 1e-6});
}

Event FakeRuntime::make_event() {
  enter("cudaEventCreate");
  ++objects_;
  return {new EventState};
}

void FakeRuntime::destroy(Event event) noexcept {
  if (event.handle == nullptr) return;
  while (step()) {
  }
  delete static_cast<EventState*>(event.handle);
  --objects_;
}

void FakeRuntime::record(Event event, Stream stream) {
  enter("cudaEventRecord");
  auto* const state = static_cast<EventState*>(event.handle);
  auto* const on = static_cast<StreamState*>(stream.handle);
  ++state->recorded;
  push(*on, {nullptr,
             [=] {
               ++state->reached;
               state->at = on->now;
             },
             0});
}

void FakeRuntime::wait(Stream stream, Event event) {
  enter("cudaStreamWaitEvent");
  auto* const state = static_cast<EventState*>(event.handle);
  const std::int64_t wanted = state->recorded;
  push(*static_cast<StreamState*>(stream.handle),
       {[=] { return state->reached >= wanted; }, [] {}, 0});
}

void FakeRuntime::synchronize(Event event) {
  enter("cudaEventSynchronize");
  auto* const state = static_cast<EventState*>(event.handle);
  run_until([&] { return state->reached >= state->recorded; });
}

Seconds FakeRuntime::elapsed(Event begin, Event end) {
  synchronize(end);
  return {static_cast<EventState*>(end.handle)->at - static_cast<EventState*>(begin.handle)->at};
}

void FakeRuntime::begin_capture(Stream stream) {
  enter("cudaStreamBeginCapture");
  auto& state = *static_cast<StreamState*>(stream.handle);
  VRAMPLAN_CHECK(!state.capturing);
  state.capturing = true;
  state.captured.clear();
}

Graph FakeRuntime::end_capture(Stream stream) {
  enter("cudaStreamEndCapture");
  auto& state = *static_cast<StreamState*>(stream.handle);
  VRAMPLAN_CHECK(state.capturing);
  state.capturing = false;
  auto graph = std::make_unique<GraphState>();
  graph->work = std::move(state.captured);
  const auto nodes = static_cast<std::int64_t>(graph->work.size());
  Device& d = device();
  graph->charged = round_up(d.facts.graph_node * nodes, d.facts.granularity);
  graph->device = current_;
  take(d, graph->charged, "cudaGraphInstantiate");
  ++objects_;
  return {graph.release(), nodes};
}

void FakeRuntime::abandon_capture(Stream stream) noexcept {
  auto& state = *static_cast<StreamState*>(stream.handle);
  state.capturing = false;
  state.captured.clear();
}

void FakeRuntime::launch(Graph graph, Stream stream) {
  enter("cudaGraphLaunch");
  ++graph_launches_;
  auto& state = *static_cast<StreamState*>(stream.handle);
  for (const Work& work : static_cast<GraphState*>(graph.handle)->work) push(state, work);
}

void FakeRuntime::destroy(Graph graph) noexcept {
  if (graph.handle == nullptr) return;
  auto* const state = static_cast<GraphState*>(graph.handle);
  devices_[static_cast<std::size_t>(state->device)].used -= state->charged;
  delete state;
  --objects_;
}

void FakeRuntime::make_gemm() {
  enter("cublasLtCreate");
  Device& d = device();
  if (d.gemm) return;
  d.gemm = true;
  take(d, d.facts.gemm, "cublasLtCreate");
}

void FakeRuntime::gemm(Stream stream, const Gemm& call) {
  enter("cublasLtMatmul");
  VRAMPLAN_CHECK(devices_[static_cast<std::size_t>(current_)].gemm);
  VRAMPLAN_CHECK(call.in.dtype == call.weight.dtype && is_16_or_32_bit_float(call.in.dtype));
  VRAMPLAN_CHECK(call.out.dtype == call.in.dtype || call.out.dtype == DType::kF32);
  VRAMPLAN_CHECK(call.in.columns == call.weight.columns && call.out.rows == call.in.rows);
  VRAMPLAN_CHECK(call.out.columns == call.weight.rows && call.out_stride >= call.out.columns);
  for (const TensorView& t : {call.in, call.weight, call.workspace}) {
    check_range(t.data, t.bytes(), true, "cublasLtMatmul");
  }
  const double flops = 2.0 * static_cast<double>(call.in.rows) *
                       static_cast<double>(call.weight.rows) * static_cast<double>(call.in.columns);
  push(*static_cast<StreamState*>(stream.handle),
       {nullptr, [call] { multiply(call); }, 2e-6 + flops / kFlopsPerSecond});
}

}  // namespace vramplan::cuda
