#include "executor/replica_group.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <new>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// A counter that forked processes share.
class SharedCounter {
 public:
  SharedCounter()
      : page_(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
        value_(new (page_) std::atomic<int>(0)) {}
  ~SharedCounter() { munmap(page_, 4096); }
  std::atomic<int>& value() { return *value_; }

 private:
  void* page_;
  std::atomic<int>* value_;
};

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::kInternal, "");
}

bool is_gone(pid_t pid) { return kill(pid, 0) == -1 && errno == ESRCH; }

TEST(ReplicaGroup, GivesBackWhatEachSaidHoweverLong) {
  ReplicaGroup group(
      3,
      [](int replica, const std::function<void()>&) {
        return std::string(static_cast<std::size_t>(replica) * 300'000, 'x') +
               std::to_string(replica);
      },
      nullptr);
  const auto texts = group.results();
  ASSERT_EQ(texts.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(texts[i].size(), i * 300'000 + 1);
    EXPECT_EQ(texts[i].back(), static_cast<char>('0' + i));
  }
}

TEST(ReplicaGroup, NobodyGoesOnBeforeAllHaveCome) {
  SharedCounter arrived, passed;
  ReplicaGroup group(
      3,
      [&](int replica, const std::function<void()>& meet) {
        if (replica == 2) usleep(20'000);
        ++arrived.value();
        meet();
        const int seen = arrived.value();
        ++passed.value();
        meet();
        return std::to_string(seen);
      },
      nullptr);
  group.gather();
  EXPECT_EQ(arrived.value(), 3);
  EXPECT_EQ(passed.value(), 0);
  group.let_go();
  group.gather();
  EXPECT_EQ(passed.value(), 3);
  group.let_go();
  for (const std::string& text : group.results()) EXPECT_EQ(text, "3");
}

TEST(ReplicaGroup, OneThatDiesEndsAllWithOneErrorThatNamesIt) {
  std::vector<pid_t> pids;
  const Error error = error_of([&] {
    ReplicaGroup group(
        3,
        [](int replica, const std::function<void()>& meet) {
          if (replica == 1) raise(SIGKILL);
          meet();
          return std::string();
        },
        nullptr);
    for (int i = 0; i < 3; ++i) pids.push_back(group.pid(i));
    group.gather();
  });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_NE(error.message().find("replica 1 of 3"), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("signal 9"), std::string::npos) << error.message();
  for (const pid_t pid : pids) EXPECT_TRUE(is_gone(pid));
}

TEST(ReplicaGroup, OneThatDiesWhileItWaitsIsNoticed) {
  ReplicaGroup group(
      2,
      [](int replica, const std::function<void()>& meet) {
        meet();
        if (replica == 0) meet();
        pause();  // replica 1 comes to no second meeting
        return std::string();
      },
      nullptr);
  group.gather();
  group.let_go();
  kill(group.pid(0), SIGTERM);
  const Error error = error_of([&] { group.gather(); });
  EXPECT_NE(error.message().find("replica 0 of 2"), std::string::npos) << error.message();
}

TEST(ReplicaGroup, AnErrorKeepsItsCodeFieldAndFix) {
  const Error error = error_of([] {
    ReplicaGroup group(
        2,
        [](int replica, const std::function<void()>&) -> std::string {
          if (replica == 0) return "";
          throw Error(ErrorCode::kOutOfPlan, "no block left").at("file", "field").help("more");
        },
        nullptr);
    group.results();
  });
  EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
  EXPECT_EQ(error.message(), "replica 1: no block left");
  EXPECT_EQ(error.file() + error.field() + error.fix(), "filefieldmore");
}

TEST(ReplicaGroup, WhatTheWaitingParentThrowsEndsThem) {
  pid_t pid = -1;
  const Error error = error_of([&] {
    ReplicaGroup group(
        1,
        [](int, const std::function<void()>&) {
          pause();
          return std::string();
        },
        [] { throw Error(ErrorCode::kUsage, "interrupted"); });
    pid = group.pid(0);
    group.results();
  });
  EXPECT_EQ(error.message(), "interrupted");
  EXPECT_TRUE(is_gone(pid));
}

}  // namespace
}  // namespace vramplan
