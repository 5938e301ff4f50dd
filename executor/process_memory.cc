#include "executor/process_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace vramplan {
namespace {

std::string text_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The first integer of a control group file, or -1 ("max", missing).
std::int64_t control_group_value(const char* path) {
  const std::string text = text_of(path);
  std::int64_t value = -1;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() ? value : -1;
}

class LinuxProcessMemory final : public ProcessMemory {
 public:
  ProcessSample now() const override {
    ProcessSample sample = parse_smaps_rollup(text_of("/proc/self/smaps_rollup"));
    const std::string status = text_of("/proc/self/status");
    if (sample.resident.n == 0) sample.resident = parse_kib_field(status, "VmRSS");
    sample.peak = std::max(sample.resident, parse_kib_field(status, "VmHWM"));
    return sample;
  }

  bool reset_peak() override {
    std::ofstream file("/proc/self/clear_refs");
    file << "5";  // 5 resets VmHWM and nothing else: proc(5)
    file.flush();
    return file.good();
  }
};

}  // namespace

Bytes parse_kib_field(const std::string& text, const std::string& name) {
  const std::string label = name + ":";
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, label.size(), label) == 0) {
      std::size_t digit = at + label.size();
      while (digit < end && (text[digit] == ' ' || text[digit] == '\t')) ++digit;
      std::int64_t kib = 0;
      const auto [rest, status] = std::from_chars(text.data() + digit, text.data() + end, kib);
      const bool unit = std::string(rest, text.data() + end) == " kB";
      constexpr std::int64_t kMost = std::int64_t{1} << 52;
      return {status == std::errc() && unit && kib >= 0 && kib < kMost ? kib * 1024 : 0};
    }
    at = end + 1;
  }
  return {};
}

ProcessSample parse_smaps_rollup(const std::string& text) {
  ProcessSample sample;
  sample.resident = parse_kib_field(text, "Rss");
  sample.proportional = parse_kib_field(text, "Pss");
  sample.own = parse_kib_field(text, "Private_Clean") + parse_kib_field(text, "Private_Dirty");
  return sample;
}

ProcessSample memory_of_process(int pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
  return parse_smaps_rollup(text_of(path.c_str()));
}

ProcessMemory& this_process_memory() {
  static LinuxProcessMemory memory;
  return memory;
}

Bytes machine_available() {
  Bytes available = parse_kib_field(text_of("/proc/meminfo"), "MemAvailable");
  const std::int64_t limit = control_group_value("/sys/fs/cgroup/memory.max");
  const std::int64_t used = control_group_value("/sys/fs/cgroup/memory.current");
  if (limit >= 0 && used >= 0)
    available = std::min(available, Bytes{std::max<std::int64_t>(0, limit - used)});
  return available;
}

}  // namespace vramplan
