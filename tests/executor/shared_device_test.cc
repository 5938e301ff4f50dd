#include "executor/shared_device.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <new>
#include <optional>

#include "executor/replica_group.h"
#include "tests/fake_cuda/fake_runtime.h"

namespace vramplan {
namespace {

using namespace literals;

TEST(SharedDevice, RegionsLieAtTheSamePlacesAndEndWithTheMemory) {
  cuda::FakeRuntime runtime;
  {
    SharedDevice memory(runtime, 2_MiB);
    Region a = memory.reserve(1000_B, "a"), b = memory.reserve(1_MiB, "b");
    EXPECT_EQ(b.data - a.data, 1024);
    EXPECT_EQ(memory.free_now(), 1_MiB - 1024_B);
    try {
      memory.reserve(1_MiB, "c");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    }
    EXPECT_THROW(SharedDevice(runtime, memory.handle(), 2_MiB), Error) << "its own";
  }
  EXPECT_EQ(runtime.live_allocations(), 0);
}

/// What one process writes another reads where it is, and the device holds it once.
TEST(SharedDevice, AnotherProcessHasTheSameBytes) {
  cuda::SharedAccount account;
  struct Offer {
    cuda::MemoryHandle handle;
  };
  void* const pages =
      mmap(nullptr, sizeof(Offer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  auto* const offer = new (pages) Offer{};
  ReplicaGroup group(2,
                     [&](int number, const std::function<void()>& meet) {
                       cuda::FakeRuntime runtime;
                       runtime.share(account);
                       runtime.use_device(0);
                       std::optional<SharedDevice> memory;
                       if (number == 0) {
                         memory.emplace(runtime, 4_MiB);
                         offer->handle = memory->handle();
                       }
                       meet();
                       if (number == 1) memory.emplace(runtime, offer->handle, 4_MiB);
                       Region region = memory->reserve(4_MiB, "all");
                       meet();
                       if (number == 0) region.data[12345] = std::byte{77};  // after it was opened
                       meet();
                       std::string text = std::to_string(static_cast<int>(region.data[12345])) +
                                          " " + std::to_string(runtime.used().n) + " " +
                                          std::to_string(runtime.memory().used().n);
                       meet();
                       if (number == 1) memory.reset();
                       meet();
                       return text;
                     },
                     {});
  for (int meeting = 0; meeting < 5; ++meeting) {
    group.gather();
    group.let_go();
  }
  const auto texts = group.results();
  const std::int64_t context = cuda::FakeDevice{}.context.n, size = 4 << 20;
  const std::string all = std::to_string(2 * context + size);
  EXPECT_EQ(texts[0], "77 " + std::to_string(context + size) + " " + all);
  EXPECT_EQ(texts[1], "77 " + std::to_string(context) + " " + all);
  EXPECT_EQ(munmap(pages, sizeof(Offer)), 0);
}

}  // namespace
}  // namespace vramplan
