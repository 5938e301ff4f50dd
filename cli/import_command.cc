// import: a checkpoint folder, config.json or GGUF file as a model card.
#include <fmt/format.h>

#include "cli/cards_json.h"
#include "cli/commands.h"
#include "cli/report_files.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/model_source.h"
#include "planner/weights.h"

namespace vramplan::cli {
namespace {

struct ImportOptions {
  std::string path, out, name, title, assume_like;
};

int run_import(const ImportOptions& options, const Session& session) {
  const ModelSource source = open_model(options.path, options.assume_like);
  ModelCard card = source.card;
  if (!options.name.empty()) card.name = options.name;
  card.title = !options.title.empty() ? options.title : card.title.empty() ? card.name : card.title;
  validate(card);
  const std::string yaml = write_model_card(card);
  const ParameterCount count = count_parameters(card);
  if (options.out.empty()) {
    print_result(session.json ? model_json(card) : yaml);
  } else {
    write_file(options.out, yaml);
    if (session.json) print_result(model_json(card));
  }
  fmt::print(stderr, "{}: {} layers, {} parameters ({} active a token), stored as {}\n", card.name,
             card.layer_count(), count.total.n, count.active.n, info(card.stored_weights).name);
  for (const std::string& part : special_parts(card)) {
    fmt::print(stderr, "  planned, not run by this program: {}\n", part);
  }
  return kExitFits;
}

}  // namespace

void add_import_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app.add_subcommand("import", "Writes a model card from a checkpoint");
  command->add_option("PATH", options->path, "checkpoint folder, config.json, or GGUF file")
      ->required();
  command->add_option("-o,--out", options->out, "card file to write; default: stdout");
  command->add_option("--name", options->name, "name of the card; default: from the path");
  command->add_option("--title", options->title, "as people call it");
  command->add_option("--assume-like", options->assume_like,
                      "read an unknown family as this model_type, such as llama");
  command->add_flag("--json", session.json, "as JSON");
  set_examples(*command, {"vramplan import Qwen3-30B-A3B/ -o qwen3-30b-a3b.yaml",
                          "vramplan import config.json --assume-like llama",
                          "vramplan plan qwen3-30b-a3b.yaml --device h100-sxm-80gb"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_import(*options, session); };
  });
}

}  // namespace vramplan::cli
