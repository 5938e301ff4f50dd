// libFuzzer target: any text either gives a card or a typed Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "modelcards/model_card.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    vramplan::parse_hf_config(std::string(reinterpret_cast<const char*>(data), size),
                              "config.json");
  } catch (const vramplan::Error& error) {
    if (error.code() == vramplan::ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
