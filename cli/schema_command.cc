// schema: prints the JSON Schema of an output.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/schemas.h"
#include "cli/usage.h"
#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

std::vector<std::string> schema_names() {
  std::vector<std::string> names;
  for (const EmbeddedSchema* schema = kSchemas; schema->name != nullptr; ++schema) {
    names.emplace_back(schema->name);
  }
  return names;
}

int run_schema(const std::string& name) {
  if (name.empty()) {
    print_result(fmt::format("{}\n", fmt::join(schema_names(), "\n")));
    return kExitFits;
  }
  for (const EmbeddedSchema* schema = kSchemas; schema->name != nullptr; ++schema) {
    if (name != schema->name) continue;
    print_result(schema->text);
    return kExitFits;
  }
  Error error(ErrorCode::kUnknownName, fmt::format("no schema '{}'", printable(name)));
  const auto nearest = nearest_names(name, schema_names());
  error.help(nearest.empty() ? fmt::format("one of: {}", fmt::join(schema_names(), " "))
                             : fmt::format("did you mean {}?", fmt::join(nearest, " or ")));
  throw error;
}

}  // namespace

void add_schema_command(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("schema", "Prints the JSON Schema of an output");
  command->add_option("NAME", *name, "plan, run, verify ...; without it: the names");
  set_examples(*command, {"vramplan schema", "vramplan schema plan",
                          "vramplan schema verify > verify.schema.json"});
  command->callback([name, &session] { session.command = [name] { return run_schema(*name); }; });
}

}  // namespace vramplan::cli
