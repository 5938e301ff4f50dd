#pragma once
// Reads the small reference fixtures of this folder. Who made each one and with which versions is
// written in the fixture itself.
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace vramplan::reference {

inline std::string path_of(const std::string& name) {
  return std::string(VRAMPLAN_SOURCE_DIR) + "/tests/reference/" + name;
}

inline nlohmann::json read_json(const std::string& name) {
  std::ifstream file(path_of(name));
  if (!file) throw std::runtime_error("no fixture " + path_of(name));
  return nlohmann::json::parse(file);
}

/// Little-endian f32 values.
inline std::vector<float> read_floats(const std::string& name) {
  std::ifstream file(path_of(name), std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("no fixture " + path_of(name));
  std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

/// ||ours - theirs||_2 / ||theirs||_2, in double.
inline double relative_error(const std::vector<float>& ours, const std::vector<float>& theirs) {
  if (ours.size() != theirs.size()) throw std::runtime_error("sizes differ");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const double a = ours[i], b = theirs[i];
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

/// The file in an environment variable, empty when it is not set: then the test skips, with words.
inline std::string model_path(const char* variable) {
  const char* path = std::getenv(variable);
  return path == nullptr ? std::string() : std::string(path);
}

}  // namespace vramplan::reference
