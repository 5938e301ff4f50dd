#include "planner/engines/manifest_names.h"

#include <algorithm>
#include <cctype>

namespace vramplan {

std::string resource_name(const std::string& model) {
  const std::size_t slash = model.rfind('/');
  std::string out;
  for (const char c : slash == std::string::npos ? model : model.substr(slash + 1)) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || (!out.empty() && out.back() != '-')) out += plain ? lower : '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "model" : out.substr(0, 50);
}

std::string image_of(const EngineSetup& setup, const std::string& asked) {
  if (!asked.empty()) return asked;
  switch (setup.id.kind) {
    case EngineKind::kVllm:
      return "vllm/vllm-openai:v" + setup.id.version;
    case EngineKind::kSglang:
      return "lmsysorg/sglang:v" + setup.id.version;
    case EngineKind::kTrtllm:
      return "nvcr.io/nvidia/tensorrt-llm/release:" + setup.id.version;
    case EngineKind::kLlamacpp:
      return "ghcr.io/ggml-org/llama.cpp:server-cuda-" + setup.id.version;
  }
  return "";
}

std::string snake(const std::string& flag) {
  std::string out = flag.substr(flag.find_first_not_of('-'));
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::string dollars_kept(const std::string& word) {
  std::string out;
  for (const char c : word) out += c == '$' ? std::string("$$") : std::string(1, c);
  return out;
}

}  // namespace vramplan
