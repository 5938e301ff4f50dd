// DiskQueue over io_uring.
#include "executor/disk_queue.h"

#if VRAMPLAN_LIBURING
#include <liburing.h>

#include <cerrno>
#include <cmath>
#include <map>

#include "modelcards/error.h"
#endif

namespace vramplan {

#if VRAMPLAN_LIBURING
namespace {

class UringQueue final : public DiskQueue {
 public:
  /// `ring` was set up with room for `depth` requests; it is ours from now on.
  UringQueue(const io_uring& ring, int depth) : ring_(ring), depth_(depth) {}
  ~UringQueue() override { io_uring_queue_exit(&ring_); }
  UringQueue(const UringQueue&) = delete;
  UringQueue& operator=(const UringQueue&) = delete;
  const char* name() const override { return "io_uring"; }

  std::uint64_t submit(const DiskRequest& request) override {
    while (in_flight_ >= depth_) reap(nullptr);
    const std::uint64_t ticket = ++tickets_;
    State& state = states_[ticket];
    state.request = request;
    push(ticket, state);
    return ticket;
  }

  DiskResult wait(std::uint64_t ticket, Seconds deadline) override {
    const auto found = states_.find(ticket);
    VRAMPLAN_CHECK(found != states_.end());
    __kernel_timespec timeout{};
    timeout.tv_sec = static_cast<decltype(timeout.tv_sec)>(std::floor(deadline.v));
    timeout.tv_nsec =
        static_cast<decltype(timeout.tv_nsec)>((deadline.v - std::floor(deadline.v)) * 1e9);
    while (!found->second.done) {
      if (!reap(&timeout)) {
        states_.erase(found);
        return {0, ETIMEDOUT};
      }
    }
    const DiskResult result = found->second.result;
    states_.erase(found);
    return result;
  }

 private:
  struct State {
    DiskRequest request;
    DiskResult result;
    bool done = false;
  };

  /// What is left of the request. The result of each part comes back with its ticket.
  void push(std::uint64_t ticket, const State& state) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    VRAMPLAN_CHECK(sqe != nullptr);
    const DiskRequest& r = state.request;
    std::byte* const data = r.data + state.result.bytes;
    const auto left = static_cast<unsigned>(std::min(r.size - state.result.bytes, kMostAtOnce));
    const auto at = static_cast<std::uint64_t>(r.offset + state.result.bytes);
    if (r.write) {
      io_uring_prep_write(sqe, r.fd, data, left, at);
    } else {
      io_uring_prep_read(sqe, r.fd, data, left, at);
    }
    io_uring_sqe_set_data64(sqe, ticket);
    ++in_flight_;
    const int submitted = io_uring_submit(&ring_);
    VRAMPLAN_CHECK(submitted == 1);
  }

  /// Takes one completion; false when none came in time. A part cut short is continued.
  bool reap(__kernel_timespec* timeout) {
    io_uring_cqe* cqe = nullptr;
    int rc = 0;
    do {
      rc = timeout == nullptr ? io_uring_wait_cqe(&ring_, &cqe)
                              : io_uring_wait_cqe_timeout(&ring_, &cqe, timeout);
    } while (rc == -EINTR);
    if (rc == -ETIME) return false;
    VRAMPLAN_CHECK(rc == 0);
    const std::uint64_t ticket = io_uring_cqe_get_data64(cqe);
    const std::int64_t moved = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    --in_flight_;
    const auto found = states_.find(ticket);
    if (found == states_.end()) return true;  // given up at its deadline
    State& state = found->second;
    if (moved > 0) state.result.bytes += moved;
    if (moved < 0 && moved != -EINTR && moved != -EAGAIN) {
      state.result.error = static_cast<int>(-moved);
    }
    state.done = moved == 0 || state.result.error != 0 || state.result.bytes == state.request.size;
    if (!state.done) push(ticket, state);
    return true;
  }

  static constexpr std::int64_t kMostAtOnce = std::int64_t{1} << 30;
  io_uring ring_;
  int depth_, in_flight_ = 0;
  std::uint64_t tickets_ = 0;
  std::map<std::uint64_t, State> states_;
};

}  // namespace

std::unique_ptr<DiskQueue> make_uring_queue(int depth) {
  VRAMPLAN_CHECK(depth > 0);
  io_uring ring{};
  if (io_uring_queue_init(static_cast<unsigned>(depth), &ring, 0) != 0) return nullptr;
  return std::make_unique<UringQueue>(ring, depth);
}
#else
std::unique_ptr<DiskQueue> make_uring_queue(int) { return nullptr; }
#endif

}  // namespace vramplan
