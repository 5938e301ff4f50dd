#include "cli/session.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "modelcards/error.h"

namespace vramplan::cli {

void print_result(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::kIo, std::string("standard output: ") + std::strerror(errno))
        .help("is the disk full, or the reader gone?");
  }
}

void write_file(const std::string& path, const std::string& text) {
  // A device or pipe (/dev/stdout) cannot be replaced by a rename; write into it.
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  const bool special = std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
  const std::string target = special ? path : path + ".partial";
  std::FILE* file = std::fopen(target.c_str(), "wb");
  if (file == nullptr) {
    throw Error(ErrorCode::kFile, std::string("cannot write: ") + std::strerror(errno))
        .at(path)
        .help("name a path in a folder that exists and may be written");
  }
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  const bool renamed =
      written && closed && (special || std::rename(target.c_str(), path.c_str()) == 0);
  if (!renamed) {
    const int reason = errno;
    if (!special) std::remove(target.c_str());
    throw Error(ErrorCode::kFile, std::string("cannot write: ") + std::strerror(reason))
        .at(path)
        .help("is the disk full?");
  }
}

}  // namespace vramplan::cli
