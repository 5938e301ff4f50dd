#pragma once
// WeightMix: matrices of layers in formats of their own: Decisions::weight_layers as words, and
// what each layer has. Norms, biases and routers are no part of it, nor tables and the head, which
// have Decisions::weights.
//
//   0-3:q8_0,29:f16,12:stored     layers 0 to 3, 29, and 12 as the file or the card stores it
#include <optional>
#include <string>
#include <vector>

#include "planner/decisions.h"
#include "planner/layer_words.h"

namespace vramplan {

/// Words of all formats that weights may have: what --weights takes besides "stored".
std::vector<std::string> weight_format_names();
/// As DTypeInfo::name, or another word for it (fp16); nothing for what is no format of weights.
std::optional<DType> weight_format_from(const std::string& text);
/// "q8_0", or "stored" for none.
std::string weight_word(const std::optional<DType>& format);

/// Layers whose words are formats or "stored". Errors: kUsage naming `flag`.
std::vector<WeightLayerRange> weight_layers_of(const std::vector<LayerWord>& words,
                                               const std::string& flag);
/// In the order given. Errors: kUsage naming `flag`, the part that is no such word, and the form.
std::vector<WeightLayerRange> parse_weight_layers(const std::string& text, const std::string& flag);
/// What parse_weight_layers reads; "" for none.
std::string text_of(const std::vector<WeightLayerRange>& layers);

/// What was asked of the matrices of a layer of the card, or (-1) of the tensors beside the layers;
/// nothing: as stored.
std::optional<DType> weight_format(const Decisions& decisions, std::int64_t layer);
/// Every format that is asked for, once.
std::vector<DType> weight_formats(const Decisions& decisions);
/// The row of the ledger that a tensor of a group and format is in: of layers that are mixed the
/// format stands beside the group, "attention q8_0".
std::string weight_row(const Decisions& decisions, const std::string& group, DType dtype);

/// One way to write a mix: ascending, neighbours alike in one piece, and only those unlike
/// Decisions::weights. Errors: those of check_weight_layers.
void settle_weight_layers(const ModelCard& card, Decisions& decisions);
/// Errors: kUsage for layers the model does not have, and for a layer with two formats.
void check_weight_layers(const ModelCard& card, const Decisions& decisions);
/// Errors: kUnsupported for a mix, naming the engine that has no flag for one.
void refuse_weight_mix(const Decisions& decisions, const char* engine);

}  // namespace vramplan
