#pragma once
// ModelNames: the card that stands for a model as engines name it.
#include <string>

namespace vramplan::cli {

/// "meta-llama/Llama-3.1-8B-Instruct" -> "llama-3.1-8b"; a path or a card's own name is returned as
/// it is. Errors: kUnknownName with the nearest cards.
/// `flag` is what the error names.
std::string card_for(const std::string& model, const char* flag = "--model");
/// The same for MODEL of a command, where it is said on stderr; a word that stands for no card is
/// returned as it is.
std::string named_model(const std::string& model);

}  // namespace vramplan::cli
