#include "executor/disk_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace vramplan {
namespace {

constexpr Seconds kLong{30};

/// A file without a name, gone with the test.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "queue-XXXXXX").string();
    fd = mkostemp(name.data(), O_CLOEXEC);
    unlink(name.c_str());
  }
  ~Scratch() { close(fd); }
  int fd = -1;
};

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> data(size);
  for (std::size_t i = 0; i < size; ++i) {
    data[i] = static_cast<std::byte>((i * 31 + static_cast<std::size_t>(seed) * 7 + i / 251) & 255);
  }
  return data;
}

enum class Kind { kThread, kUring };
class Queue : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    queue_ = GetParam() == Kind::kThread ? make_thread_queue(4) : make_uring_queue(4);
    if (queue_ == nullptr) GTEST_SKIP() << "no io_uring here";
  }
  DiskRequest request(bool write, std::vector<std::byte>& data, std::int64_t offset) const {
    return {write, file_.fd, data.data(), static_cast<std::int64_t>(data.size()), offset};
  }
  Scratch file_;
  std::unique_ptr<DiskQueue> queue_;
};

TEST_P(Queue, ReadsWhatWasWrittenInAnyOrderOfWaiting) {
  std::vector<std::vector<std::byte>> written, back;
  std::vector<std::uint64_t> tickets;
  for (int i = 0; i < 20; ++i) written.push_back(pattern(8192, i));
  // More than the depth: submit waits for room.
  for (int i = 0; i < 20; ++i) {
    tickets.push_back(
        queue_->submit(request(true, written[static_cast<std::size_t>(i)], i * 8192)));
  }
  for (std::size_t i = 20; i-- > 0;) {
    const DiskResult result = queue_->wait(tickets[i], kLong);
    EXPECT_EQ(result.error, 0);
    EXPECT_EQ(result.bytes, 8192);
  }
  back.assign(20, std::vector<std::byte>(8192));
  for (int i = 0; i < 20; ++i) {
    tickets[static_cast<std::size_t>(i)] =
        queue_->submit(request(false, back[static_cast<std::size_t>(i)], i * 8192));
  }
  for (const std::size_t i : {7U, 0U, 19U, 3U}) {
    EXPECT_EQ(queue_->wait(tickets[i], kLong).bytes, 8192);
    EXPECT_EQ(back[i], written[i]) << i;
  }
}

TEST_P(Queue, SaysWhereTheFileEnds) {
  std::vector<std::byte> data = pattern(6000, 1), back(8192);
  ASSERT_EQ(queue_->wait(queue_->submit(request(true, data, 0)), kLong).bytes, 6000);
  const DiskResult result = queue_->wait(queue_->submit(request(false, back, 0)), kLong);
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.bytes, 6000);
}

TEST_P(Queue, GivesTheKernelsError) {
  std::vector<std::byte> data(4096);
  DiskRequest bad = request(false, data, 0);
  bad.fd = -1;
  EXPECT_EQ(queue_->wait(queue_->submit(bad), kLong).error, EBADF);
}

TEST_P(Queue, GivesUpAtTheDeadline) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);  // never written: a read of it does not end
  if (GetParam() == Kind::kUring) {
    std::vector<std::byte> data(16);
    const std::uint64_t ticket = queue_->submit({false, ends[0], data.data(), 16, -1});
    EXPECT_EQ(queue_->wait(ticket, Seconds{0.02}).error, ETIMEDOUT);
    queue_.reset();
  }
  close(ends[0]);
  close(ends[1]);
}

INSTANTIATE_TEST_SUITE_P(Both, Queue, testing::Values(Kind::kThread, Kind::kUring),
                         [](const auto& p) {
                           return p.param == Kind::kThread ? "Pread" : "Uring";
                         });

TEST(DiskQueue, OneOfThemIsThere) { EXPECT_NE(make_disk_queue(8), nullptr); }

}  // namespace
}  // namespace vramplan
