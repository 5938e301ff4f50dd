#pragma once
// FakeRuntime: the CUDA runtime for tests of host code: virtual devices of any capacity, whose
// bytes are host pages that cost nothing until written; other tenants; the n-th call fails; streams
// whose work waits until somebody waits for it, in a seeded order; copies and products really done.
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace vramplan::cuda {

struct FakeDevice {
  std::string name = "Fake H200";
  Bytes capacity{std::int64_t{140} << 30};
  int multiprocessors = 132, major = 9, minor = 0;
  Bytes context{Bytes{396} * (1 << 20)};
  Bytes modules{Bytes{64} * (1 << 20)};  // taken at the first kernel
  Bytes gemm{Bytes{24} * (1 << 20)};     // taken with the first product's handle
  Bytes graph_node{10 * 1024};
  Bytes granularity{2 << 20};  // of allocations and graphs
  bool nvml = true;
};

/// What processes hold of a virtual device that they share: pages of an account that is made before
/// they are forked. A process that is gone holds nothing.
class SharedAccount {
 public:
  SharedAccount();
  ~SharedAccount();
  SharedAccount(const SharedAccount&) = delete;
  SharedAccount& operator=(const SharedAccount&) = delete;

  void set_own(Bytes used);
  Bytes of_others() const;
  /// Processes that hold something, but for this one.
  std::vector<DeviceProcess> others() const;

 private:
  struct Entry;
  Entry* entries_ = nullptr;
};

class FakeRuntime final : public Runtime {
 public:
  /// Device 0 is shared with other processes' runtimes; the account outlives this.
  void share(SharedAccount& account) { account_ = &account; }
  explicit FakeRuntime(std::vector<FakeDevice> devices = {FakeDevice{}}, std::uint64_t seed = 1);
  ~FakeRuntime() override;
  FakeRuntime(const FakeRuntime&) = delete;
  FakeRuntime& operator=(const FakeRuntime&) = delete;

  // Scripts.
  /// From call number `call` on (counted from 1 over all functions that can fail), another process
  /// holds this much.
  void tenant_at(std::int64_t call, Bytes bytes) { tenants_[call] = bytes; }
  /// Call number `call` fails; with `persistent` every later one too.
  void fail_call(std::int64_t call, Status status, bool persistent = false);
  std::int64_t calls() const { return calls_; }
  const std::vector<std::string>& log() const { return log_; }
  Bytes used(int device = 0) const { return devices_[static_cast<std::size_t>(device)].used; }
  std::int64_t live_allocations() const { return static_cast<std::int64_t>(allocations_.size()); }
  std::int64_t live_objects() const { return objects_; }  // streams, events, graphs
  std::int64_t graph_launches() const { return graph_launches_; }
  bool is_device(const void* data, std::int64_t size) const;

  /// For kernels of tests: `work` runs when its turn comes.
  static void enqueue(Stream stream, std::function<void()> work);

  int device_count(std::string& why_none) override;
  DeviceProperties properties(int device) override;
  std::optional<MemoryInfo> outside_memory(int device) override;
  std::optional<std::vector<DeviceProcess>> processes(int device) override;
  std::optional<DeviceClocks> clocks(int device) override;
  void use_device(int device) override;
  MemoryInfo memory() override;
  void* allocate(Bytes size) override;
  void release(void* data) noexcept override;
  MemoryHandle export_memory(void* data) override;
  void* open_memory(const MemoryHandle& handle, Bytes size) override;
  void close_memory(void* data) noexcept override;
  void* allocate_pinned(Bytes size) override;
  void release_pinned(void* data) noexcept override;
  Stream make_stream() override;
  void destroy(Stream stream) noexcept override;
  void synchronize(Stream stream) override;
  void copy(Stream stream, void* to, const void* from, Bytes size, CopyKind kind) override;
  void fill(Stream stream, void* to, int byte, Bytes size) override;
  Event make_event() override;
  void destroy(Event event) noexcept override;
  void record(Event event, Stream stream) override;
  void wait(Stream stream, Event event) override;
  void synchronize(Event event) override;
  Seconds elapsed(Event begin, Event end) override;
  void begin_capture(Stream stream) override;
  Graph end_capture(Stream stream) override;
  void abandon_capture(Stream stream) noexcept override;
  void launch(Graph graph, Stream stream) override;
  void destroy(Graph graph) noexcept override;
  void make_gemm() override;
  void gemm(Stream stream, const Gemm& call) override;

  struct StreamState;

 private:
  struct Work {
    std::function<bool()> ready;  // null = always
    std::function<void()> run;
    double seconds = 0;
  };
  struct EventState;
  struct GraphState;
  struct Device {
    FakeDevice facts;
    Bytes used;  // by this process
    bool context = false, modules = false, gemm = false;
  };
  struct Allocation {
    Bytes size, charged;
    int device = 0;
    bool pinned = false;
    int file = -1;  // of memory that other processes may open
  };

  void enter(const char* call);
  Device& device();
  Bytes tenant() const;  // and other processes of the account
  Bytes scripted() const;
  void take(Device& device, Bytes bytes, const char* what);
  void give(Device& device, Bytes bytes) noexcept;
  void push(StreamState& stream, Work work);
  bool step();  // runs one ready piece of work of some stream
  void run_until(const std::function<bool()>& done);
  void check_range(const void* data, Bytes size, bool on_device, const char* what) const;
  std::map<const std::byte*, Allocation>::const_iterator find(const void* data) const;
  void* map_pages(Bytes size, Bytes charged, bool pinned);
  void unmap(void* data) noexcept;

  std::vector<Device> devices_;
  int current_ = 0;
  std::uint64_t random_;
  std::int64_t calls_ = 0, objects_ = 0, graph_launches_ = 0;
  std::map<std::int64_t, Bytes> tenants_;
  std::int64_t fail_at_ = 0;
  Status fail_status_ = Status::kUnknown;
  bool fail_persistent_ = false;
  std::vector<std::string> log_;
  std::map<const std::byte*, Allocation> allocations_;
  std::set<StreamState*> streams_;
  SharedAccount* account_ = nullptr;
};

}  // namespace vramplan::cuda
