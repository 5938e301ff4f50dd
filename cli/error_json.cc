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

namespace {

nlohmann::json code_object(const ErrorMeaning& meaning) {
  return {{"code", code_text(meaning.code)},
          {"exit_code", exit_code(meaning.code)},
          {"title", meaning.title},
          {"meaning", meaning.meaning}};
}

}  // namespace

std::string code_json(const ErrorMeaning& meaning) {
  nlohmann::json object = code_object(meaning);
  object["schema"] = "vramplan.code/1";
  return object.dump(2) + "\n";
}

std::string codes_json() {
  nlohmann::json codes = nlohmann::json::array();
  for (const auto& meaning : error_meanings()) codes.push_back(code_object(meaning));
  const nlohmann::json object = {{"schema", "vramplan.codes/1"}, {"codes", codes}};
  return object.dump(2) + "\n";
}

}  // namespace vramplan::cli
