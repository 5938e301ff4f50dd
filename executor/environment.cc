#include "executor/environment.h"

#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <thread>

#include "executor/process_memory.h"

#ifndef VRAMPLAN_COMMIT
#define VRAMPLAN_COMMIT ""
#endif

namespace vramplan {
namespace {

/// The value of the first line of /proc/cpuinfo that starts with "model name"; empty elsewhere.
std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t colon = line.find(": ");
    return colon == std::string::npos ? std::string{} : printable(line.substr(colon + 2));
  }
  return {};
}

Bytes machine_memory() {
  std::ifstream file("/proc/meminfo");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return parse_kib_field(text, "MemTotal");
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Environment this_environment(const std::string& backend, int threads) {
  Environment environment;
  utsname system{};
  if (uname(&system) == 0) {
    environment.kernel = std::string(system.sysname) + " " + system.release;
    environment.machine = std::string(system.machine) + ", " +
                          std::to_string(std::thread::hardware_concurrency()) + " CPUs, " +
                          to_text(machine_memory());
  }
  environment.cpu = cpu_model();
  environment.commit = VRAMPLAN_COMMIT;
  environment.backend = backend;
  environment.threads = threads;
  environment.time_utc = utc_now();
  return environment;
}

}  // namespace vramplan
