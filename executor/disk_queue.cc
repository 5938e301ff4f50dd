#include "executor/disk_queue.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// The whole request, however the kernel cuts it.
DiskResult transfer(const DiskRequest& request) {
  DiskResult result;
  while (result.bytes < request.size) {
    std::byte* const data = request.data + result.bytes;
    const auto left = static_cast<std::size_t>(request.size - result.bytes);
    const off_t at = request.offset + result.bytes;
    const ssize_t n =
        request.write ? pwrite(request.fd, data, left, at) : pread(request.fd, data, left, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) result.error = errno;
    if (n <= 0) break;  // 0: the end of the file
    result.bytes += n;
  }
  return result;
}

class ThreadQueue final : public DiskQueue {
 public:
  explicit ThreadQueue(int depth) : depth_(static_cast<std::size_t>(depth)) {
    VRAMPLAN_CHECK(depth > 0);
    worker_ = std::thread([this] { work(); });
  }
  ~ThreadQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  const char* name() const override { return "pread"; }

  std::uint64_t submit(const DiskRequest& request) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.size() < depth_; });
    waiting_.push_back({++tickets_, request});
    changed_.notify_all();
    return tickets_;
  }

  DiskResult wait(std::uint64_t ticket, Seconds deadline) override {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::duration<double>(deadline.v),
                                        [&] { return done_.count(ticket) > 0; });
    if (!came) return {0, ETIMEDOUT};
    const DiskResult result = done_.at(ticket);
    done_.erase(ticket);
    return result;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const auto [ticket, request] = waiting_.front();
      lock.unlock();
      const DiskResult result = transfer(request);
      lock.lock();
      waiting_.pop_front();
      done_[ticket] = result;
      changed_.notify_all();
    }
  }

  struct Waiting {
    std::uint64_t ticket;
    DiskRequest request;
  };
  std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  std::map<std::uint64_t, DiskResult> done_;
  std::uint64_t tickets_ = 0;
  bool stop_ = false;
  std::thread worker_;
};

}  // namespace

std::unique_ptr<DiskQueue> make_thread_queue(int depth) {
  return std::make_unique<ThreadQueue>(depth);
}

std::unique_ptr<DiskQueue> make_disk_queue(int depth) {
  if (auto queue = make_uring_queue(depth)) return queue;
  return make_thread_queue(depth);
}

}  // namespace vramplan
