#include "executor/cuda_side_copies.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/fake_cuda/fake_runtime.h"

namespace vramplan {
namespace {

/// Bytes go in while computing waits for them, and out only when it is done, in any order that the
/// streams allow.
TEST(CudaSideCopies, ComputingWaitsForMarksAndCopiesFollowComputing) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    cuda::FakeRuntime runtime({cuda::FakeDevice{}}, seed);
    const cuda::Stream computing = runtime.make_stream();
    auto* const host = static_cast<int*>(runtime.allocate_pinned({8}));
    auto* const device = static_cast<int*>(runtime.allocate({8}));
    host[0] = 20;
    host[1] = -1;
    {
      CudaSideCopies side(runtime, computing);
      const std::size_t mark = side.make_mark();
      side.copy(device, host, {4}, HostCopy::kToDevice);
      side.set_mark(mark);
      side.hold_computing(mark);
      cuda::FakeRuntime::enqueue(computing, [=] { device[1] = device[0] + 1; });
      side.follow_computing();
      side.copy(host + 1, device + 1, {4}, HostCopy::kToHost);
    }  // the stream ends with what it still has to do
    EXPECT_EQ(host[1], 21) << seed;
    runtime.release(device);
    runtime.release_pinned(host);
    runtime.destroy(computing);
    EXPECT_EQ(runtime.live_objects(), 0);
  }
}

TEST(CudaSideCopies, MakesNoStreamBeforeAMarkIsAskedFor) {
  cuda::FakeRuntime runtime;
  const cuda::Stream computing = runtime.make_stream();
  { const CudaSideCopies side(runtime, computing); }
  EXPECT_EQ(runtime.live_objects(), 1);
  runtime.destroy(computing);
}

}  // namespace
}  // namespace vramplan
