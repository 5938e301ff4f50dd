#pragma once
// KvMix: a KV cache whose layers have different formats: Decisions::kv_layers as words, what each
// layer has, and which of them keep their newest tokens apart.
//
//   0-1:f16,20-29:kivi2,30:kivi4/0/2     layers 0 and 1, 20 to 29, and 30 but for its heads 0 and 2
#include <optional>
#include <string>
#include <vector>

#include "planner/decisions.h"
#include "planner/layer_words.h"

namespace vramplan {

/// As name_of writes it, or another word for a 16- or 32-bit format (fp16, bfloat16).
std::optional<KvFormat> kv_format_from(const std::string& text);
std::vector<std::string> kv_format_names();

/// "0,2" as heads. Errors: kUsage naming `flag`.
KvHeads parse_kv_heads(const std::string& text, const std::string& flag);
std::string text_of(const KvHeads& heads);
/// "kivi2/0" as name_of writes it. Errors: kUsage naming `flag`.
KvEncoding parse_kv_encoding(const std::string& text, const std::string& flag);
/// Layers whose words are such encodings. Errors: those of parse_kv_encoding.
std::vector<KvLayerRange> kv_layers_of(const std::vector<LayerWord>& words,
                                       const std::string& flag);
/// In the order given. Errors: kUsage naming `flag`, the part that is no such word, and the form.
std::vector<KvLayerRange> parse_kv_layers(const std::string& text, const std::string& flag);
/// What parse_kv_layers reads; "" for none.
std::string text_of(const std::vector<KvLayerRange>& layers);

/// What `kv_layers` says of a layer of the card; nothing when it does not name it.
std::optional<KvEncoding> named_kv_encoding(const Decisions& decisions, std::int64_t layer);
/// Of the layers that it does not name.
KvEncoding kv_encoding(const Decisions& decisions);
/// Of a layer of the card.
KvEncoding kv_encoding(const Decisions& decisions, std::int64_t layer);
/// Every format once, that of the unnamed layers first.
std::vector<KvFormat> kv_formats(const Decisions& decisions);
/// kivi2 or kivi4, whichever some layer has.
std::optional<KvFormat> packed_format(const Decisions& decisions);
/// Whether the rows of a cache are told apart by format: "blocks int8".
bool names_formats(const Decisions& decisions);
/// Whether a layer in this format keeps its newest tokens in the residual window.
bool has_window(const Decisions& decisions, KvFormat format);
/// Whether some layers have a residual window and others have none: two pools of blocks.
bool mixes_windows(const Decisions& decisions);

/// One way to write a mix: `kv_layers` ascending, neighbours alike in one piece, and only those
/// unlike the rest, of which there is at least one layer. Errors: those of check_kv_layers.
void settle_kv_layers(const ModelCard& card, Decisions& decisions);
/// Errors: kUsage for layers the model does not have, for a layer with two formats, for heads it
/// does not have; kUnsupported for a layer without a cache of its own (recurrent, or reading
/// another layer's), and for full heads in latent attention or over tensor parallel ranks.
void check_kv_layers(const ModelCard& card, const Decisions& decisions);

/// Errors: kUnsupported for a mix, naming the engine that has no flag for one.
void refuse_kv_mix(const Decisions& decisions, const char* engine);

}  // namespace vramplan
