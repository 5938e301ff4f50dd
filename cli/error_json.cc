#include "cli/error_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace vramplan::cli {

std::string code_text(ErrorCode code) { return fmt::format("VP{:04d}", static_cast<int>(code)); }

std::string error_json(const Error& error) {
  const nlohmann::json object = {{"schema", "vramplan.error/1"},
                                 {"code", code_text(error.code())},
                                 {"message", printable(error.message(), 2000)},
                                 {"file", printable(error.file(), 2000)},
                                 {"field", printable(error.field())},
                                 {"help", printable(error.fix(), 2000)},
                                 {"exit_code", exit_code(error.code())}};
  // Paths may hold bytes that are no UTF-8; a JSON reader must still get valid text.
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace vramplan::cli
