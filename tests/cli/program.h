#pragma once
// Program: the built vramplan as a child process: arguments in, exit code and both streams out.
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace vramplan::testing {

struct Outcome {
  int code = -1;  // exit code; 128 + signal when it was killed
  std::string out, err;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// A folder that goes away with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "vramplan-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Runs the program with an empty home, so that a calibrated card of this machine plays no part.
/// `prefix` goes before the program on the shell's line ("NO_COLOR=1").
/// `program`: also VRAMPLAN_ON_FAKE, the same with a fake CUDA driver.
inline Outcome run_program(const std::vector<std::string>& arguments,
                           const std::string& prefix = "",
                           const std::string& program = VRAMPLAN_BINARY) {
  const Folder folder;
  std::string line = "HOME=" + shell_word(folder / "home") + " XDG_DATA_HOME= " + prefix + " " +
                     shell_word(program);
  for (const auto& argument : arguments) line += " " + shell_word(argument);
  line += " >" + shell_word(folder / "out") + " 2>" + shell_word(folder / "err") + " </dev/null";
  const int status = std::system(line.c_str());
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = contents(folder / "out");
  outcome.err = contents(folder / "err");
  return outcome;
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

#define EXPECT_HOLDS(text, part) \
  EXPECT_TRUE(::vramplan::testing::holds(text, part)) << "'" << (part) << "' is not in:\n" << (text)

}  // namespace vramplan::testing
