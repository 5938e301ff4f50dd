#include "cli/fresh_process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace vramplan::cli {
namespace {

constexpr const char* kOurselves = "/proc/self/exe";
constexpr int kStarts = 5;

Error cannot_start() {
  return Error(ErrorCode::kIo, "the program could not start itself to measure its resident bytes")
      .at(kOurselves);
}

/// Standard output of `vramplan process-base`.
std::string output_of_fresh_process(int threads) {
  int ends[2];
  if (pipe(ends) != 0) throw cannot_start();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::string program = "vramplan", word = "process-base", count = std::to_string(threads);
  char* arguments[] = {program.data(), word.data(), count.data(), nullptr};
  pid_t child = 0;
  const int failed = posix_spawn(&child, kOurselves, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string text;
  char buffer[64];
  for (ssize_t n = 0; failed == 0 && (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  if (failed != 0 || waitpid(child, &status, 0) != child || status != 0) throw cannot_start();
  return text;
}

}  // namespace

FreshProcess measure_fresh_process(int threads) {
  std::vector<std::int64_t> resident, own;
  for (int i = 0; i < kStarts; ++i) {
    std::istringstream text(output_of_fresh_process(threads));
    std::int64_t base = 0, replica = 0;
    if (!(text >> base >> replica) || base <= 0 || replica < 0) throw cannot_start();
    resident.push_back(base);
    own.push_back(replica);
  }
  std::sort(resident.begin(), resident.end());
  std::sort(own.begin(), own.end());
  return {{resident[resident.size() / 2]}, {own[own.size() / 2]}};
}

}  // namespace vramplan::cli
