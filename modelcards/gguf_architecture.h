#pragma once
// GgufArchitecture: the parts that model_card_from_gguf is made of, shared by its files.
#include <string>

#include "modelcards/gguf.h"
#include "modelcards/model_card.h"

namespace vramplan {

/// What the converters fix per architecture and no key says. Source: llama.cpp's conversion scripts
/// and rotary table. `interleaved`: the converter reorders the rows of q and k (or the family
/// stores them so) that rotary pairs are neighbours.
struct GgufArchitecture {
  const char* name;  // general.architecture
  const char* family;
  NormKind norm;
  Activation activation;
  bool gated, interleaved;
  PositionKind position = PositionKind::kRope;
  // Has parts that a card says and this program's executor does not run: unknown tensors become
  // extras of the card instead of a refusal, so that bytes stay exact.
  bool planned = false;
};

/// Of general.architecture. Errors: kUnsupported with the reason, kUnknownFamily naming missing keys.
const GgufArchitecture& find_gguf_architecture(const Gguf& gguf);

/// Every tensor that the card says must be in the file with its shape, and no other.
/// Errors: kBadGguf, or kUnsupported for a tensor that the card does not explain, naming the tensor.
void check_gguf_tensors(const Gguf& gguf, const GgufArchitecture& architecture,
                        const ModelCard& card);

/// "blk.3.attn_q.weight"
std::string gguf_block_name(std::int64_t layer, const char* name);

[[noreturn]] void fail_gguf_card(const Gguf& gguf, const std::string& field,
                                 const std::string& message);          // kBadGguf
[[noreturn]] void refuse_gguf_card(const Gguf& gguf, const std::string& field,
                                   const std::string& message);        // kUnsupported

}  // namespace vramplan
