#pragma once
// A file in the test's temporary folder, and the output of a command: for tests that ask other
// programs.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace vramplan::testing_files {

inline std::string write_temporary(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + "vramplan_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

struct CommandResult {
  int status = -1;
  std::string output;  // stdout and stderr
};

inline CommandResult run_command(const std::string& command) {
  CommandResult result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe))
    result.output.append(buffer, n);
  result.status = pclose(pipe);
  return result;
}

inline bool has_program(const std::string& name) {
  return run_command("command -v " + name + " > /dev/null").status == 0;
}

}  // namespace vramplan::testing_files
