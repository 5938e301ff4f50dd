#pragma once
// AllocationMeter: the most bytes that operator new handed out at one time while it lives. The
// replacement of operator new is in gguf_parser_test.cc, for the whole test program.
#include <cstdint>

namespace vramplan::test {
class AllocationMeter {
 public:
  AllocationMeter();
  std::int64_t peak_bytes() const;  // above what was live when the meter was made
 private:
  std::int64_t start_;
};
}  // namespace vramplan::test
