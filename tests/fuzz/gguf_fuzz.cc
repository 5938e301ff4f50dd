// libFuzzer target: any bytes either give a Gguf (and perhaps a card) or a typed Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "modelcards/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file =
      vramplan::memory_file("fuzz.gguf", std::string(reinterpret_cast<const char*>(data), size));
  try {
    vramplan::model_card_from_gguf(vramplan::Gguf::read(*file));
  } catch (const vramplan::Error& error) {
    if (error.code() == vramplan::ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
