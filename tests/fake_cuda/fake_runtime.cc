#include "tests/fake_cuda/fake_stream.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace vramplan::cuda {

namespace {

constexpr std::int64_t kPoisonUpTo = 64 << 20;

}  // namespace

FakeRuntime::FakeRuntime(std::vector<FakeDevice> devices, std::uint64_t seed) : random_(seed) {
  for (FakeDevice& facts : devices) devices_.push_back({std::move(facts), {}, false, false, false});
}

FakeRuntime::~FakeRuntime() {
  while (!allocations_.empty()) unmap(const_cast<std::byte*>(allocations_.begin()->first));
  for (StreamState* stream : streams_) delete stream;
}

void FakeRuntime::fail_call(std::int64_t call, Status status, bool persistent) {
  fail_at_ = call;
  fail_status_ = status;
  fail_persistent_ = persistent;
}

void FakeRuntime::enter(const char* call) {
  ++calls_;
  log_.emplace_back(call);
  const bool now = calls_ == fail_at_ || (fail_persistent_ && fail_at_ > 0 && calls_ > fail_at_);
  if (now) call_failed(call, fail_status_, "call " + std::to_string(calls_) + " by script");
}

FakeRuntime::Device& FakeRuntime::device() {
  Device& d = devices_[static_cast<std::size_t>(current_)];
  if (!d.context) {
    d.context = true;
    take(d, d.facts.context, "the context");
  }
  return d;
}

Bytes FakeRuntime::scripted() const {
  const auto after = tenants_.upper_bound(calls_);
  return after == tenants_.begin() ? Bytes{} : std::prev(after)->second;
}

Bytes FakeRuntime::tenant() const {
  return scripted() + (account_ != nullptr ? account_->of_others() : Bytes{});
}

void FakeRuntime::take(Device& d, Bytes bytes, const char* what) {
  if (d.used + tenant() + bytes > d.facts.capacity) {
    call_failed(what, Status::kOutOfMemory, std::to_string(bytes.n) + " B");
  }
  d.used += bytes;
  if (account_ != nullptr && &d == devices_.data()) account_->set_own(d.used);
}

void FakeRuntime::give(Device& d, Bytes bytes) noexcept {
  d.used -= bytes;
  if (account_ != nullptr && &d == devices_.data()) account_->set_own(d.used);
}

int FakeRuntime::device_count(std::string& why_none) {
  if (devices_.empty()) why_none = "the fake has no device";
  return static_cast<int>(devices_.size());
}

DeviceProperties FakeRuntime::properties(int index) {
  enter("cudaGetDeviceProperties");
  const FakeDevice& f = devices_.at(static_cast<std::size_t>(index)).facts;
  return {f.name,
          "GPU-fake-" + std::to_string(index),
          "13.0",
          f.capacity,
          f.multiprocessors,
          f.major,
          f.minor,
          Bytes{50 << 20}};
}

std::optional<MemoryInfo> FakeRuntime::outside_memory(int index) {
  const Device& d = devices_.at(static_cast<std::size_t>(index));
  if (!d.facts.nvml) return {};
  return MemoryInfo{d.facts.capacity - d.used - tenant(), d.facts.capacity};
}

std::optional<std::vector<DeviceProcess>> FakeRuntime::processes(int index) {
  const Device& d = devices_.at(static_cast<std::size_t>(index));
  if (!d.facts.nvml) return {};
  std::vector<DeviceProcess> all;
  if (d.used.n > 0) all.push_back({1, "this test", d.used, true});
  if (scripted().n > 0) all.push_back({4711, "another-tenant", scripted(), false});
  if (account_ == nullptr) return all;
  for (DeviceProcess& other : account_->others()) all.push_back(std::move(other));
  return all;
}

std::optional<DeviceClocks> FakeRuntime::clocks(int index) {
  if (!devices_.at(static_cast<std::size_t>(index)).facts.nvml) return {};
  return DeviceClocks{1980, 3201};
}

void FakeRuntime::use_device(int index) {
  enter("cudaSetDevice");
  if (index < 0 || index >= static_cast<int>(devices_.size())) {
    call_failed("cudaSetDevice", Status::kInvalidDevice, "");
  }
  current_ = index;
  device();
}

MemoryInfo FakeRuntime::memory() {
  enter("cudaMemGetInfo");
  const Device& d = device();
  return {d.facts.capacity - d.used - tenant(), d.facts.capacity};
}

void* FakeRuntime::map_pages(Bytes size, Bytes charged, bool pinned) {
  const auto length = static_cast<std::size_t>(std::max<std::int64_t>(size.n, 1));
  void* const data = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  VRAMPLAN_CHECK(data != MAP_FAILED);
  // What nobody wrote is NaN in every format, so that it cannot pass for a zero.
  const std::size_t poisoned = pinned ? std::min<std::size_t>(length, 1 << 16) : length;
  if (size.n <= kPoisonUpTo) std::memset(data, 0xff, poisoned);
  allocations_[static_cast<std::byte*>(data)] = {size, charged, current_, pinned, -1};
  return data;
}

void FakeRuntime::unmap(void* data) noexcept {
  const auto found = allocations_.find(static_cast<std::byte*>(data));
  VRAMPLAN_CHECK(found != allocations_.end());  // freed twice, or never allocated
  give(devices_[static_cast<std::size_t>(found->second.device)], found->second.charged);
  if (found->second.file >= 0) close(found->second.file);
  munmap(data, static_cast<std::size_t>(std::max<std::int64_t>(found->second.size.n, 1)));
  allocations_.erase(found);
}

void* FakeRuntime::allocate(Bytes size) {
  enter("cudaMalloc");
  Device& d = device();
  const Bytes charged = round_up(size, d.facts.granularity);
  take(d, charged, "cudaMalloc");
  return map_pages(size, charged, false);
}

void FakeRuntime::release(void* data) noexcept {
  if (data == nullptr) return;
  while (step()) {  // cudaFree waits for the device
  }
  unmap(data);
}

void* FakeRuntime::allocate_pinned(Bytes size) {
  enter("cudaHostAlloc");
  device();
  return map_pages(size, {}, true);
}

void FakeRuntime::release_pinned(void* data) noexcept { release(data); }

std::map<const std::byte*, FakeRuntime::Allocation>::const_iterator FakeRuntime::find(
    const void* data) const {
  auto after = allocations_.upper_bound(static_cast<const std::byte*>(data));
  if (after == allocations_.begin()) return allocations_.end();
  --after;
  const auto* const at = static_cast<const std::byte*>(data);
  return at < after->first + after->second.size.n ? after : allocations_.end();
}

bool FakeRuntime::is_device(const void* data, std::int64_t size) const {
  const auto found = find(data);
  if (found == allocations_.end() || found->second.pinned) return false;
  return static_cast<const std::byte*>(data) + size <= found->first + found->second.size.n;
}

void FakeRuntime::check_range(const void* data, Bytes size, bool on_device,
                              const char* what) const {
  const bool inside = is_device(data, size.n);
  if (inside == on_device) return;
  call_failed(what, Status::kIllegalAddress,
              on_device ? "not inside a device allocation" : "host memory expected");
}

}  // namespace vramplan::cuda
