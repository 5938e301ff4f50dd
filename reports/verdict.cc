#include "reports/verdict.h"

namespace vramplan {

const char* name_of(Outcome outcome) {
  static constexpr const char* kNames[] = {"within", "over", "under", "not_measured"};
  return kNames[static_cast<int>(outcome)];
}

}  // namespace vramplan
