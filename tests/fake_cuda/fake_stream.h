#pragma once
// What the parts of FakeRuntime share: its streams, events and graphs.
#include "tests/fake_cuda/fake_runtime.h"

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

}  // namespace vramplan::cuda
