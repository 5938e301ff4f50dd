#pragma once
// EngineModel: what an engine's own account needs to know of the part of a model one rank holds:
// weight bytes by the engine's storage rules and the groups of layers that share a KV layout. Knows
// no engine version and no device.
#include <optional>
#include <string>
#include <vector>

#include "modelcards/model_source.h"
#include "planner/decisions.h"
#include "planner/weights.h"

namespace vramplan {

/// How linear layers are stored, by the words engines use. kNone: as the model stores them.
enum class Quantization { kNone, kFp8, kFp8Block, kInt8, kInt4, kMxfp4, kNvfp4 };
const char* name_of(Quantization quantization);
/// "fp8", "awq", "gptq_marlin", "compressed-tensors" is refused: it says nothing about bits.
/// Errors: kUsage with the nearest name.
Quantization parse_quantization(const std::string& text);

/// Which matrices of the blocks a checkpoint quantises; the others stay in 16 bits.
enum class QuantizedParts { kAll, kFeedForward, kExperts };
/// "all", "feed_forward", "experts". Errors: kUsage with the nearest name.
QuantizedParts parse_quantized_parts(const std::string& text);

/// Bytes of a [rows, columns] linear weight with its scales.
/// fp8, int8: 1 B + 4 B a row; fp8_block: 1 B + 4 B a 128 x 128 tile; int4: groups of 128 columns,
/// 0.5 B + 2 B scale + 0.5 B zero a group; mxfp4: 17 B a 32; nvfp4: 9 B a 16, + 4 B a tensor.
Bytes quantised_bytes(Quantization quantization, std::int64_t rows, std::int64_t columns);

/// Layers alike in what they keep of the past.
struct KvLayers {
  MixerKind kind = MixerKind::kFullAttention;
  std::int64_t window = 0;  // tokens, 0 = all
  std::int64_t layers = 0;
  BytesPerToken bytes_per_token;  // of one such layer, on this rank
};

/// A matrix every token is multiplied with, as engines fuse them: q, k, v in one, gate and up in
/// one. Rows and columns on this rank.
struct EngineMatrix {
  std::int64_t rows = 0, columns = 0, count = 0;
  bool quantised = false;
  bool all_groups = false;  // sees the tokens of every attention group, not of its own alone
};

/// How `attention_dp` groups of tensor ranks split a model: each group attends sequences of its
/// own, the routed experts lie over all ranks. What else stays over all ranks differs by engine.
struct AttentionGroups {
  int count = 1;
  bool whole_feed_forward = false;  // dense layers and shared experts over all ranks
  bool whole_embedding = false;     // false: over the ranks of a group
  bool whole_head = false;
};

struct EngineFormats {
  Quantization quantization = Quantization::kNone;
  QuantizedParts quantized_parts = QuantizedParts::kAll;
  std::int64_t dtype_bytes = 2;  // of activations and of plain weights
  std::int64_t kv_element_bytes = 2;
  bool kivi2 = false;               // the cache in 2 bits with scales of 32: 3.0 bits an element
  std::int64_t vocab_granule = 64;  // the vocabulary is padded to a multiple of this
  std::int64_t mxfp4_hidden_granule = 1, mxfp4_intermediate_granule = 1;  // padding of experts
  Bytes tower;                 // weights beside the decoder: a vision or audio tower
  bool latent_copies = false;  // MLA: the up-projections are kept a second time, absorbed
  int expert_parallel = 1;     // tensor ranks that share whole experts
  int context_parallel = 1;    // tensor ranks that share the tokens of a cache
  bool rotary_tables = true;   // cos and sin are kept for every position
  AttentionGroups groups;
  // Of a model that drafts for another:
  bool tables = true;                 // false: embedding and head are the other's
  bool outside_matrices = false;      // matrices outside the layers are multiplied with every token
  std::int64_t attention_inputs = 1;  // vectors of the hidden width that q, k, v read side by side
};

struct EngineModel {
  bool embedding = true, head = true;
  std::int64_t hidden = 0, vocab = 0, heads = 0, head_dim = 0;
  std::int64_t layers = 0;
  std::int64_t intermediate = 0;         // widest dense feed-forward on this rank
  std::int64_t expert_intermediate = 0;  // of one expert on this rank
  int expert_ranks = 1;                  // ranks that share whole experts
  std::int64_t experts_per_token = 0;
  std::int64_t experts = 0;
  std::int64_t expert_layers = 0;
  int groups = 1;              // that attend sequences of their own
  int attention_tp = 1;        // ranks of one of them
  int context_ranks = 1;       // of one cache, each with a share of its tokens
  int head_ranks = 1;          // over which the vocabulary of the head is split
  bool head_sees_all = false;  // the head's rows are those of all groups
  std::vector<EngineMatrix> matrices;
  Bytes linear_weights, expert_weights, head_weights;     // read by a step, within weights
  std::int64_t linear_elements = 0, expert_elements = 0;  // of matrices, on this rank
  bool vision = false;
  bool tied = false;      // the head is the input table
  Bytes weights;          // as the engine stores them, rotary tables included
  Bytes embedding_table;  // of the input table, within weights
  std::vector<KvLayers> kv;
  std::vector<BytesPerToken> layer_kv;  // layer by layer of this rank, windows not cut

  BytesPerToken kv_bytes_per_token() const;  // all layers, windows not cut
  /// Adds layers to those that keep the same.
  void keep(const KvLayers& more);
};

/// The part rank `rank` of decisions.sharding holds. Errors: kUnsupported, kUsage of rank_model;
/// kUsage for attention groups that do not divide the tensor ranks.
EngineModel engine_model(const ModelSource& source, const Decisions& decisions,
                         const EngineFormats& formats, int rank);

}  // namespace vramplan
