#pragma once
// Text: integers and sums as people read them in formulas: "327,680 B".
#include <string>

#include "modelcards/units.h"

namespace vramplan {

std::string grouped(std::int64_t number);  // 1234567 -> "1,234,567"
inline std::string exact(Bytes bytes) { return grouped(bytes.n) + " B"; }

}  // namespace vramplan
