#pragma once
// HfPatterns: lists of modules that a quantised checkpoint leaves alone, as fragments of this
// program's tensor names. Not for other folders.
#include <string>
#include <utility>
#include <vector>

#include "modelcards/model_card.h"

namespace vramplan {

/// Whether a Hugging Face module name is meant by a pattern: "re:" and a regular expression, a glob
/// with *, or a part of the name as transformers matches it.
bool matches_module(const std::string& pattern, const std::string& module);

/// ModelCard::unpacked for these patterns: "attn_q.weight" where all layers have it, "blk.3.attn_q"
/// where single layers do.
std::string unpacked_fragments(const std::vector<std::string>& patterns, const ModelCard& card);

}  // namespace vramplan
