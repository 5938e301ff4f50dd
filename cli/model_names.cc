#include "cli/model_names.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <fmt/format.h>

#include "modelcards/error.h"
#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

/// Endings that change no byte of the decoder.
constexpr const char* kEndings[] = {"-instruct", "-chat", "-it",   "-hf",   "-base", "-fp8",
                                    "-dynamic",  "-2407", "-2501", "-2503", "-2506", "-2507"};
constexpr const char* kBeginnings[] = {"meta-", "deepseek-ai-"};

std::string plain_name(const std::string& model) {
  const std::size_t slash = model.rfind('/');
  std::string name = slash == std::string::npos ? model : model.substr(slash + 1);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string begin : kBeginnings) {
    if (name.rfind(begin, 0) == 0) name.erase(0, begin.size());
  }
  for (bool cut = true; cut;) {
    cut = false;
    for (const std::string end : kEndings) {
      const bool ends =
          name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
      if (ends) name.erase(name.size() - end.size());
      cut = cut || ends;
    }
  }
  return name;
}

}  // namespace

std::string named_model(const std::string& model) {
  const std::vector<std::string> cards = model_card_names();
  const auto known = [&](const std::string& name) {
    return std::find(cards.begin(), cards.end(), name) != cards.end();
  };
  if (known(model) || std::filesystem::exists(model)) return model;
  const std::string name = plain_name(model);
  if (!known(name)) return model;
  fmt::print(stderr, "note: '{}' is planned as the card {}\n", printable(model), name);
  return name;
}

std::string card_for(const std::string& model, const char* flag) {
  const std::vector<std::string> cards = model_card_names();
  const auto known = [&](const std::string& name) {
    return std::find(cards.begin(), cards.end(), name) != cards.end();
  };
  if (known(model) || std::filesystem::exists(model)) return model;
  const std::string name = plain_name(model);
  if (known(name)) return name;
  throw Error(ErrorCode::kUnknownName, fmt::format("no card stands for '{}'", printable(model)))
      .at("", flag)
      .help(fmt::format("name a card, a GGUF file or a checkpoint folder with {}; ", flag) +
            did_you_mean(name, cards));
}

}  // namespace vramplan::cli
