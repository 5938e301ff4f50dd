// models: the model cards the program knows, or one of them (or a file's) with its source.
#include <fmt/format.h>

#include <algorithm>

#include "cli/cards_json.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/library.h"
#include "modelcards/model_source.h"
#include "reports/text_table.h"

namespace vramplan::cli {
namespace {

std::string attention_text(const Mixer& mixer) {
  return fmt::format("{}/{}x{}", mixer.heads, mixer.kv_heads, mixer.head_dim);
}

std::string table(const std::vector<ModelCard>& cards) {
  TextTable text({{"name"},
                  {"layers", true},
                  {"hidden", true, 2},
                  {"heads/kv x dim", true},
                  {"intermediate", true, 3},
                  {"vocab", true, 4},
                  {"context", true},
                  {"stored", false, 1}},
                 text_options());
  for (const ModelCard& card : cards) {
    // The first layer of a hybrid may have no attention, or be the only dense one.
    const auto attends = [](const Layer& layer) { return layer.mixer.heads > 0; };
    const auto first = std::find_if(card.layers.begin(), card.layers.end(), attends);
    const Layer& layer = first == card.layers.end() ? card.layers.front() : *first;
    text.add({card.name, std::to_string(card.layer_count()), std::to_string(card.hidden),
              attention_text(layer.mixer), std::to_string(layer.feed_forward.intermediate),
              std::to_string(card.vocab), std::to_string(card.context_limit),
              info(card.stored_weights).name});
  }
  return text.render(0);
}

int run_models(const std::string& name, bool names_only, const Session& session) {
  if (!name.empty()) {
    const ModelCard card = open_model(name).card;
    print_result(session.json ? model_json(card) : write_model_card(card));
    return kExitFits;
  }
  std::string names;
  std::vector<ModelCard> cards;
  for (const auto& card_name : model_card_names()) {
    names += card_name + "\n";
    if (!names_only) cards.push_back(model_card(card_name));
  }
  print_result(names_only ? names : session.json ? models_json(cards) : table(cards));
  return kExitFits;
}

}  // namespace

void add_models_command(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  auto names_only = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("models", "Lists the model cards, or shows one");
  command->add_option("MODEL", *name, "card name, GGUF file, or checkpoint folder");
  command->add_flag("--json", session.json, "as JSON");
  command->add_flag("--names", *names_only, "names only, one a line");
  set_examples(*command, {"vramplan models", "vramplan models llama-3-70b",
                          "vramplan models model.gguf > my-card.yaml"});
  command->callback([name, names_only, &session] {
    session.command = [name, names_only, &session] {
      return run_models(*name, *names_only, session);
    };
  });
}

}  // namespace vramplan::cli
