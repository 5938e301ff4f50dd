// Streams, events and graphs of FakeRuntime: work waits until somebody waits for it.
#include "tests/fake_cuda/fake_stream.h"

#include <cstring>

namespace vramplan::cuda {
namespace {

constexpr double kKernelSeconds = 2e-6, kCopyBytesPerSecond = 5e10, kMemoryBytesPerSecond = 4e12;

}  // namespace

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
  give(devices_[static_cast<std::size_t>(state->device)], state->charged);
  delete state;
  --objects_;
}

}  // namespace vramplan::cuda
