#include "executor/block_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr Bytes kPayload{5000};

/// Does what `inner` does, and then what a bad disk would do.
class BadDisk final : public DiskQueue {
 public:
  enum class Fault { kNone, kError, kShort, kLate, kFlip, kOtherRecord, kOldWrite };
  explicit BadDisk(std::unique_ptr<DiskQueue> inner) : inner_(std::move(inner)) {}
  const char* name() const override { return "bad"; }
  std::uint64_t submit(const DiskRequest& request) override {
    last_ = request;
    if (fault == Fault::kOtherRecord && !request.write) last_.offset = 0;
    if (fault == Fault::kOldWrite && request.write) return 0;  // said to be done, never done
    return inner_->submit(last_);
  }
  DiskResult wait(std::uint64_t ticket, Seconds deadline) override {
    if (ticket == 0) return {last_.size, 0};
    DiskResult result = inner_->wait(ticket, deadline);
    if (fault == Fault::kError) result.error = EIO;
    if (fault == Fault::kShort) result.bytes -= 512;
    if (fault == Fault::kLate) result = {0, ETIMEDOUT};
    if (fault == Fault::kFlip && !last_.write) last_.data[flipped] ^= std::byte{4};
    return result;
  }
  Fault fault = Fault::kNone;
  std::int64_t flipped = 0;

 private:
  std::unique_ptr<DiskQueue> inner_;
  DiskRequest last_;
};

struct Free {
  void operator()(std::byte* data) const { std::free(data); }
};
using Record = std::unique_ptr<std::byte, Free>;

class BlockFiles : public testing::Test {
 protected:
  BlockFiles() : queue_(make_thread_queue(4)), file_(queue_, shape()) {}

  static BlockFile::Shape shape() {
    return {std::filesystem::temp_directory_path().string(), kPayload, 8, 42, Seconds{10}};
  }
  Record record(int fill) const {
    Record out(static_cast<std::byte*>(
        std::aligned_alloc(static_cast<std::size_t>(BlockFile::kAlignment),
                           static_cast<std::size_t>(file_.record_bytes().n))));
    std::memset(out.get(), fill, static_cast<std::size_t>(file_.record_bytes().n));
    return out;
  }
  /// The message of the error that reading `index` ends with.
  std::string failure(std::int64_t index) {
    const Record back = record(0);
    try {
      file_.read(index, back.get());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      return error.what();
    }
    return "";
  }

  BadDisk queue_;
  BlockFile file_;
};

TEST_F(BlockFiles, ARecordIsHeaderPayloadAndPadding) {
  EXPECT_EQ(BlockFile::record_bytes(Bytes{4032}), Bytes{4096});
  EXPECT_EQ(BlockFile::record_bytes(Bytes{4033}), Bytes{8192});
  EXPECT_EQ(file_.file_bytes(), Bytes{8 * 8192});
}

TEST_F(BlockFiles, ReadsTheLastWrite) {
  for (int i = 0; i < 8; ++i) file_.write(i, record(10 + i).get());
  file_.write(3, record(99).get());
  const Record back = record(0);
  for (const int i : {0, 3, 7}) {
    file_.read(i, back.get());
    for (const std::byte b : file_.payload(back.get())) {
      ASSERT_EQ(b, static_cast<std::byte>(i == 3 ? 99 : 10 + i));
    }
  }
}

TEST_F(BlockFiles, NeighboursMoveInOneRequestAndEachIsChecked) {
  const std::int64_t size = file_.record_bytes().n;
  const Record four(static_cast<std::byte*>(std::aligned_alloc(
      static_cast<std::size_t>(BlockFile::kAlignment), static_cast<std::size_t>(4 * size))));
  for (int i = 0; i < 4; ++i) {
    std::memset(four.get() + i * size, 20 + i, static_cast<std::size_t>(size));
  }
  file_.finish_write(2, file_.begin_write(2, four.get(), 4), 4);
  const Record one = record(0);
  file_.read(4, one.get());  // as a record of its own
  EXPECT_EQ(file_.payload(one.get())[0], std::byte{22});
  file_.write(3, record(99).get());
  file_.finish_read(2, file_.begin_read(2, four.get(), 4), four.get(), 4);
  for (const auto& [at, value] : {std::pair{0, 20}, {1, 99}, {2, 22}, {3, 23}}) {
    EXPECT_EQ(file_.payload(four.get() + at * size)[0], static_cast<std::byte>(value));
  }
  queue_.fault = BadDisk::Fault::kFlip;
  queue_.flipped = 3 * size + 100;
  try {
    file_.finish_read(2, file_.begin_read(2, four.get(), 4), four.get(), 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("record 5 "), std::string::npos) << error.message();
  }
  queue_.fault = BadDisk::Fault::kShort;
  EXPECT_THROW(file_.finish_write(2, file_.begin_write(2, four.get(), 4), 4), Error);
  for (const int i : {2, 3, 4, 5}) EXPECT_FALSE(file_.readable(i)) << i;
}

TEST_F(BlockFiles, EveryFlippedByteIsSeen) {
  file_.write(2, record(7).get());
  queue_.fault = BadDisk::Fault::kFlip;
  for (std::int64_t at = 0; at < BlockFile::kHeader + kPayload.n; at += at < 70 ? 1 : 97) {
    queue_.flipped = at;
    EXPECT_NE(failure(2), "") << "byte " << at;
  }
  queue_.flipped = BlockFile::kHeader + kPayload.n;  // padding holds nothing
  EXPECT_EQ(failure(2), "");
}

TEST_F(BlockFiles, AMisdirectedReadAndALostWriteAreSeen) {
  file_.write(0, record(1).get());
  file_.write(5, record(2).get());
  queue_.fault = BadDisk::Fault::kOtherRecord;
  EXPECT_NE(failure(5).find("another record"), std::string::npos);
  queue_.fault = BadDisk::Fault::kOldWrite;
  file_.write(5, record(3).get());
  queue_.fault = BadDisk::Fault::kNone;
  EXPECT_NE(failure(5).find("older write"), std::string::npos);
}

TEST_F(BlockFiles, AFailedWriteIsNeverVisible) {
  file_.write(1, record(1).get());
  for (const auto fault : {BadDisk::Fault::kError, BadDisk::Fault::kShort, BadDisk::Fault::kLate}) {
    queue_.fault = fault;
    EXPECT_THROW(file_.write(1, record(2).get()), Error);
    EXPECT_FALSE(file_.readable(1));
  }
  queue_.fault = BadDisk::Fault::kNone;
  file_.write(1, record(3).get());
  EXPECT_TRUE(file_.readable(1));
  file_.drop(1);
  EXPECT_FALSE(file_.readable(1));
}

TEST_F(BlockFiles, AFailedReadSaysWhy) {
  file_.write(1, record(1).get());
  queue_.fault = BadDisk::Fault::kError;
  EXPECT_NE(failure(1).find(std::strerror(EIO)), std::string::npos);
  queue_.fault = BadDisk::Fault::kShort;
  EXPECT_NE(failure(1).find("ended after"), std::string::npos);
  queue_.fault = BadDisk::Fault::kLate;
  EXPECT_NE(failure(1).find("in time"), std::string::npos);
}

TEST_F(BlockFiles, AnUnwrittenRecordCannotBeRead) {
  const Record back = record(0);
  EXPECT_DEATH(file_.read(4, back.get()), "readable");
}

TEST(BlockFileDirectory, IsRefusedByNameWhenItWillNotDo) {
  const auto queue = make_thread_queue(1);
  const auto refused = [&](const std::string& directory) {
    try {
      BlockFile(*queue, {directory, kPayload, 1, 1, Seconds{1}});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFile);
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused("/nowhere"));
  const auto base = std::filesystem::temp_directory_path() / "block-file-directory";
  std::filesystem::create_directory(base);
  chmod(base.c_str(), 0777);
  EXPECT_TRUE(refused(base.string())) << "everyone may replace files in it";
  chmod(base.c_str(), 0700);
  EXPECT_FALSE(refused(base.string()));
  EXPECT_TRUE(std::filesystem::is_empty(base)) << "the file has no name";
  std::filesystem::remove(base);
}

TEST(BlockFileDirectory, AFullDiskIsOutOfPlan) {
  const auto queue = make_thread_queue(1);
  try {
    BlockFile(*queue, {std::filesystem::temp_directory_path().string(), Bytes{1} * (1LL << 40),
                       std::int64_t{1} << 20, 1, Seconds{1}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan) << error.what();
  }
}

}  // namespace
}  // namespace vramplan
