#include "modelcards/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vramplan {
namespace {

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(testing::TempDir() + "vramplan_file_test_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~FileTest() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string written(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  std::string folder_;
};

void expect_file_error(const std::string& path, const std::string& says) {
  try {
    open_file(path);
    FAIL() << path;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFile);
    EXPECT_NE(error.message().find(says), std::string::npos) << error.what();
    EXPECT_EQ(exit_code(error.code()), 2);
  }
}

TEST_F(FileTest, AnyRangeInsideIsRead) {
  const auto file = open_file(written("a", "0123456789"));
  EXPECT_EQ(file->size(), 10_B);
  std::string out(4, ' ');
  file->read_at(6_B, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(out, "6789");
  EXPECT_NO_THROW(file->read_at(10_B, {}));
  EXPECT_EQ(read_text(*file, 10_B), "0123456789");
}

TEST_F(FileTest, RangesThatLeaveTheFileAreErrors) {
  const auto on_disk = open_file(written("a", "0123456789"));
  const auto in_memory = memory_file("m", "0123456789");
  for (const File* file : {on_disk.get(), in_memory.get()}) {
    std::string out(4, ' ');
    const auto span = std::as_writable_bytes(std::span(out));
    for (const std::int64_t offset :
         {std::int64_t{7}, std::int64_t{11}, std::int64_t{-1},
          std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
      EXPECT_THROW(file->read_at({offset}, span), Error) << offset;
    }
    EXPECT_THROW(read_text(*file, 9_B), Error);
  }
}

TEST_F(FileTest, WhatIsNoRegularFileIsNamed) {
  expect_file_error(path("absent"), "No such file");
  expect_file_error(folder_, "directory");
  expect_file_error("/dev/zero", "regular");
  expect_file_error("", "empty");
  expect_file_error(std::string("a\0b", 3), "zero byte");
}

TEST_F(FileTest, AFifoWithoutWriterDoesNotHang) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_file_error(path("fifo"), "regular");
}

TEST_F(FileTest, AFileThatShrinksIsAMachineError) {
  const auto file = open_file(written("a", std::string(1000, 'x')));
  std::filesystem::resize_file(path("a"), 10);
  std::string out(1000, ' ');
  try {
    file->read_at(0_B, std::as_writable_bytes(std::span(out)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.message().find("shorter"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace vramplan
