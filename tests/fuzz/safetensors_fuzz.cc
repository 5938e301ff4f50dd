// libFuzzer target: any bytes either give a tensor table or a typed Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "modelcards/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = vramplan::memory_file("fuzz.safetensors",
                                          std::string(reinterpret_cast<const char*>(data), size));
  try {
    vramplan::read_safetensors(*file);
  } catch (const vramplan::Error& error) {
    if (error.code() == vramplan::ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
