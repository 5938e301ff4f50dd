// models: the model cards the program knows, or one of them (or a file's) with its source.
#include <fmt/format.h>

#include <algorithm>

#include "cli/cards_json.h"
#include "cli/commands.h"
#include "cli/model_names.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/library.h"
#include "modelcards/model_source.h"
#include "reports/listing.h"
#include "reports/text_table.h"

namespace vramplan::cli {
namespace {

std::string attention_text(const Mixer& mixer) {
  return fmt::format("{}/{}x{}", mixer.heads, mixer.kv_heads, mixer.head_dim);
}

/// The first layer of a hybrid may have no attention, or be the only dense one.
const Layer& shown_layer(const ModelCard& card) {
  const auto attends = [](const Layer& layer) { return layer.mixer.heads > 0; };
  const auto first = std::find_if(card.layers.begin(), card.layers.end(), attends);
  return first == card.layers.end() ? card.layers.front() : *first;
}

Listing listing(const std::vector<ModelCard>& cards) {
  Listing out{"models",
              {"name", "layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate",
               "experts", "vocab", "context_tokens", "stored"},
              {}};
  for (const ModelCard& card : cards) {
    const Layer& layer = shown_layer(card);
    std::vector<std::string> row = {card.name};
    for (const std::int64_t n :
         {std::int64_t{card.layer_count()}, std::int64_t{card.hidden},
          std::int64_t{layer.mixer.heads}, std::int64_t{layer.mixer.kv_heads},
          std::int64_t{layer.mixer.head_dim}, std::int64_t{layer.feed_forward.intermediate},
          std::int64_t{layer.feed_forward.experts}, std::int64_t{card.vocab},
          std::int64_t{card.context_limit}}) {
      row.push_back(std::to_string(n));
    }
    row.push_back(info(card.stored_weights).name);
    out.rows.push_back(std::move(row));
  }
  return out;
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
    const Layer& layer = shown_layer(card);
    text.add({card.name, std::to_string(card.layer_count()), std::to_string(card.hidden),
              attention_text(layer.mixer), std::to_string(layer.feed_forward.intermediate),
              std::to_string(card.vocab), std::to_string(card.context_limit),
              info(card.stored_weights).name});
  }
  return text.render(0);
}

struct ModelsCommand {
  std::string name, format = "table";
  bool names_only = false;
};

std::string rendered(const std::vector<ModelCard>& cards, const std::string& format) {
  if (format == "json") return models_json(cards);
  if (format == "yaml") return listing_yaml(listing(cards));
  if (format == "csv") return listing_csv(listing(cards));
  if (format == "md") return listing_markdown(listing(cards));
  return table(cards);
}

int run_models(const ModelsCommand& options, const Session& session) {
  const std::vector<std::string> all = model_card_names();
  std::vector<std::string> shown = all;
  if (!options.name.empty()) {
    shown = cards_like(options.name, all);
    if (shown.empty()) {
      const ModelCard card = open_model(named_model(options.name)).card;
      print_result(session.json ? model_json(card) : write_model_card(card));
      return kExitFits;
    }
  }
  std::string names;
  std::vector<ModelCard> cards;
  for (const auto& card_name : shown) {
    names += card_name + "\n";
    if (!options.names_only) cards.push_back(model_card(card_name));
  }
  print_result(options.names_only ? names
                                  : rendered(cards, session.json ? "json" : options.format));
  return kExitFits;
}

}  // namespace

void add_models_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<ModelsCommand>();
  CLI::App* command =
      app.add_subcommand("models", "Lists the model cards, those of a family, or shows one");
  command->add_option("MODEL", options->name,
                      "card name, the beginning of names, GGUF file, or checkpoint folder");
  command->add_flag("--json", session.json, "as JSON");
  add_list_format(*command, options->format);
  command->add_flag("--names", options->names_only, "names only, one a line");
  set_examples(*command,
               {"vramplan models", "vramplan models llama-3-70b", "vramplan models qwen3 -o csv"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_models(*options, session); };
  });
}

}  // namespace vramplan::cli
