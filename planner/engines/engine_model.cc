#include "planner/engines/engine_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "modelcards/nearest_names.h"
#include "planner/kv_cache.h"
#include "planner/weight_names.h"

namespace vramplan {
namespace {

struct QuantizationName {
  const char* name;
  Quantization quantization;
};
/// The words vLLM and SGLang use, by what they store.
constexpr QuantizationName kQuantizationNames[] = {
    {"none", Quantization::kNone},        {"fp8", Quantization::kFp8},
    {"ptpc_fp8", Quantization::kFp8},     {"modelopt_fp8", Quantization::kFp8},
    {"w8a8_fp8", Quantization::kFp8},     {"fp8_block", Quantization::kFp8Block},
    {"int8", Quantization::kInt8},        {"w8a8_int8", Quantization::kInt8},
    {"int4", Quantization::kInt4},        {"awq", Quantization::kInt4},
    {"awq_marlin", Quantization::kInt4},  {"gptq", Quantization::kInt4},
    {"gptq_marlin", Quantization::kInt4}, {"mxfp4", Quantization::kMxfp4},
    {"nvfp4", Quantization::kNvfp4},      {"modelopt_fp4", Quantization::kNvfp4},
};

bool is_expert(Part part) {
  return part == Part::kExpertGate || part == Part::kExpertUp || part == Part::kExpertDown;
}

bool is_linear(Part part) {
  switch (part) {
    case Part::kQ:
    case Part::kK:
    case Part::kV:
    case Part::kAttentionOutput:
    case Part::kGate:
    case Part::kUp:
    case Part::kDown:
    case Part::kMatrix:
      return true;
    default:
      return is_expert(part);
  }
}

/// Part::kMatrix belongs to attention: latent and linear mixers.
bool is_feed_forward(Part part) {
  return part == Part::kGate || part == Part::kUp || part == Part::kDown || is_expert(part);
}

bool is_quantised(const EngineFormats& formats, Part part) {
  if (formats.quantization == Quantization::kNone || !is_linear(part)) return false;
  // mxfp4 is a format of experts: https://github.com/openai/gpt-oss
  const bool mxfp4 = formats.quantization == Quantization::kMxfp4;
  if (mxfp4 || formats.quantized_parts == QuantizedParts::kExperts) return is_expert(part);
  return formats.quantized_parts == QuantizedParts::kAll || is_feed_forward(part);
}

bool is_plain_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// The first of the tensor ranks of a stage, when a stage has `tp` of them.
RankModel first_of_stage(const ModelSource& source, Decisions decisions, int rank, int tp) {
  const int stage = rank / decisions.sharding.tp;
  decisions.sharding.tp = tp;
  return rank_model(source.card, decisions, source.stored, stage * tp);
}

int ranks_of_group(const Decisions& decisions, const AttentionGroups& groups) {
  const int tp = decisions.sharding.tp;
  if (groups.count >= 1 && tp % groups.count == 0) return tp / groups.count;
  throw Error(ErrorCode::kUsage,
              fmt::format("{} tensor ranks are not {} groups of equal size", tp, groups.count))
      .at("", "--attention-dp")
      .help("give a divisor of --tp");
}

class Builder {
 public:
  Builder(const ModelSource& source, const Decisions& decisions, const EngineFormats& formats,
          int rank)
      : card_(source.card),
        formats_(formats),
        tp_(decisions.sharding.tp),
        group_tp_(ranks_of_group(decisions, formats.groups)),
        model_(first_of_stage(source, decisions, rank, tp_)),
        group_(group_tp_ == tp_ ? model_ : first_of_stage(source, decisions, rank, group_tp_)) {}

  EngineModel run() {
    out_.embedding = model_.shape.embedding;
    out_.head = model_.shape.head;
    out_.hidden = model_.hidden;
    out_.vocab = card_.vocab;
    out_.tied = card_.tied_head;
    out_.groups = formats_.groups.count;
    out_.attention_tp = group_tp_;
    out_.context_ranks = formats_.context_parallel;
    out_.head_sees_all = formats_.groups.whole_head;
    out_.head_ranks = formats_.groups.whole_head ? tp_ : group_tp_;
    for (std::size_t k = 0; k < model_.kinds.size(); ++k) layer(merged(k));
    for (const std::size_t k : model_.kind_of_layer) {
      out_.layer_kv.push_back(kv_bytes_per_token(group_.kinds.at(k).shape, cache_format()));
    }
    for (std::size_t i = 0; i < model_.outside.size(); ++i) outside(outside_tensor(i));
    // A tower runs on the first stage, its layers split like the decoder's.
    if (out_.embedding) out_.weights += {ceil_div(formats_.tower.n, group_tp_)};
    out_.vision = formats_.tower.n > 0;
    for (const WeightTensor& tensor : model_.outside) {
      out_.vision = out_.vision || tensor.group == "encoder";
    }
    if (formats_.rotary_tables) out_.weights += rotary_tables();
    return std::move(out_);
  }

 private:
  Bytes stored(const WeightTensor& tensor, std::int64_t rows) const {
    const std::int64_t elements = detail::checked_mul(rows, tensor.columns);
    const bool quantise = is_quantised(formats_, tensor.part);
    if (quantise && formats_.quantization == Quantization::kMxfp4) return padded_experts(tensor);
    if (quantise) return quantised_bytes(formats_.quantization, rows, tensor.columns);
    if (is_plain_float(tensor.dtype)) return Bytes{formats_.dtype_bytes} * elements;
    return bytes_of(tensor.dtype, rows, tensor.columns);
  }

  bool over_all_ranks(Part part) const {
    if (is_expert(part)) return true;
    return formats_.groups.whole_feed_forward && is_feed_forward(part);
  }

  /// A kind of layer with each tensor as the ranks it is split over hold it.
  LayerKind merged(std::size_t index) const {
    LayerKind kind = group_.kinds.at(index);
    const LayerKind& whole = model_.kinds.at(index);
    for (std::size_t i = 0; i < kind.tensors.size(); ++i) {
      WeightTensor& tensor = kind.tensors[i];
      if (over_all_ranks(tensor.part)) tensor = whole.tensors.at(i);
      const bool input =
          tensor.part == Part::kQ || tensor.part == Part::kK || tensor.part == Part::kV;
      if (input) tensor.columns = detail::checked_mul(tensor.columns, formats_.attention_inputs);
    }
    const bool moe = kind.layer.feed_forward.kind == FeedForwardKind::kMoe;
    if (moe || formats_.groups.whole_feed_forward) {
      kind.shape.intermediate = whole.shape.intermediate;
    }
    if (formats_.groups.whole_feed_forward) {
      kind.shape.shared_intermediate = whole.shape.shared_intermediate;
    }
    return kind;
  }

  WeightTensor outside_tensor(std::size_t index) const {
    const WeightTensor& whole = model_.outside.at(index);
    const bool all = (whole.part == Part::kEmbedding && formats_.groups.whole_embedding) ||
                     (whole.part == Part::kHead && formats_.groups.whole_head);
    return all ? whole : group_.outside.at(index);
  }

  /// Experts in mxfp4, their widths padded as the kernels want them.
  Bytes padded_experts(const WeightTensor& tensor) const {
    const std::int64_t h = formats_.mxfp4_hidden_granule, i = formats_.mxfp4_intermediate_granule;
    const bool down = tensor.part == Part::kExpertDown;
    const std::int64_t row_granule = down ? h : i, column_granule = down ? i : h;
    const std::int64_t rows = ceil_div(tensor.rows / experts_, row_granule) * row_granule;
    const std::int64_t columns = ceil_div(tensor.columns, column_granule) * column_granule;
    return quantised_bytes(Quantization::kMxfp4, detail::checked_mul(rows, experts_), columns);
  }

  void layer(const LayerKind& kind) {
    const int ep = formats_.expert_parallel;
    experts_ = std::max<std::int64_t>(1, kind.layer.feed_forward.experts / ep);
    for (WeightTensor tensor : kind.tensors) {
      if (tensor.part == Part::kExpertDown) {  // fewer experts, each with more of its columns
        tensor.rows /= ep;
        tensor.columns *= ep;
      }
      const Bytes bytes = stored(tensor, tensor.rows) * kind.count;
      const std::int64_t elements =
          detail::checked_mul(detail::checked_mul(tensor.rows, tensor.columns), kind.count);
      out_.weights += bytes;
      (is_expert(tensor.part) ? out_.expert_weights : out_.linear_weights) += bytes;
      (is_expert(tensor.part) ? out_.expert_elements : out_.linear_elements) += elements;
    }
    matrices(kind);
    out_.layers += kind.count;
    const Mixer& mixer = kind.layer.mixer;
    const FeedForward& ff = kind.layer.feed_forward;
    out_.heads = std::max(out_.heads, kind.shape.heads);
    out_.head_dim = std::max(out_.head_dim, mixer.head_dim);
    if (ff.kind == FeedForwardKind::kDense) {
      out_.intermediate = std::max(out_.intermediate, kind.shape.intermediate);
    }
    if (ff.kind == FeedForwardKind::kMoe) {
      out_.expert_intermediate =
          std::max(out_.expert_intermediate, kind.shape.intermediate * formats_.expert_parallel);
      out_.expert_ranks = formats_.expert_parallel;
      out_.expert_layers += kind.count;
      out_.experts = std::max(out_.experts, ff.experts);
      out_.experts_per_token = std::max(out_.experts_per_token, ff.experts_per_token);
      out_.intermediate = std::max(out_.intermediate, kind.shape.shared_intermediate);
    }
    if (mixer.kind == MixerKind::kMla && formats_.latent_copies) {
      const std::int64_t width = mixer.head_dim - mixer.qk_rope_dim + mixer.value_dim;
      out_.weights +=
          Bytes{formats_.dtype_bytes} *
          detail::checked_mul(detail::checked_mul(kind.shape.heads, width), mixer.kv_lora_rank) *
          kind.count;
    }
    if (mixer.kind == MixerKind::kLinear || mixer.linear.kind != LinearKind::kNone) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} has linear or state-space layers: no twin models the engine's "
                              "state pool yet",
                              card_.name))
          .at("", "--engine")
          .help("plan it without --engine");
    }
    const BytesPerToken per_token = kv_bytes_per_token(kind.shape, cache_format());
    if (per_token.n > 0) out_.keep({mixer.kind, mixer.window_tokens, kind.count, per_token});
  }

  void matrices(const LayerKind& kind) {
    EngineMatrix qkv{0, 0, kind.count}, gate_up{0, 0, kind.count};
    for (const WeightTensor& tensor : kind.tensors) {
      if (!is_linear(tensor.part) || is_expert(tensor.part)) continue;
      const bool attention =
          tensor.part == Part::kQ || tensor.part == Part::kK || tensor.part == Part::kV;
      const bool feed_forward = tensor.part == Part::kGate || tensor.part == Part::kUp;
      if (!attention && !feed_forward) {
        out_.matrices.push_back({tensor.rows, tensor.columns, kind.count,
                                 is_quantised(formats_, tensor.part), over_all_ranks(tensor.part)});
        continue;
      }
      EngineMatrix& fused = attention ? qkv : gate_up;
      fused.rows += tensor.rows;
      fused.columns = tensor.columns;
      fused.quantised = is_quantised(formats_, tensor.part);
      fused.all_groups = over_all_ranks(tensor.part);
    }
    for (const EngineMatrix& fused : {qkv, gate_up}) {
      if (fused.rows > 0) out_.matrices.push_back(fused);
    }
  }

  KvFormat cache_format() const {
    if (formats_.kivi2) return KvFormat::kKivi2;
    if (formats_.kv_element_bytes == 1) return KvFormat::kFp8;
    return formats_.kv_element_bytes == 2 ? KvFormat::kBF16 : KvFormat::kF32;
  }

  void outside(const WeightTensor& tensor) {
    const bool table = tensor.part == Part::kEmbedding || tensor.part == Part::kHead;
    if (table && !formats_.tables) return;
    std::int64_t rows = tensor.rows;
    if (table && tensor.rows > 1) {
      const std::int64_t granule = formats_.vocab_granule;
      const bool head = tensor.part == Part::kHead;
      const bool all = head ? formats_.groups.whole_head : formats_.groups.whole_embedding;
      rows = ceil_div(ceil_div(card_.vocab, granule) * granule, all ? tp_ : group_tp_);
    }
    if (formats_.outside_matrices && tensor.part == Part::kMatrix) {
      out_.matrices.push_back({rows, tensor.columns, 1, is_quantised(formats_, tensor.part)});
    }
    const Bytes bytes = stored(tensor, rows);
    if (tensor.part == Part::kEmbedding) out_.embedding_table = bytes;
    const bool tied = tensor.part == Part::kEmbedding && card_.tied_head;
    if (tensor.part == Part::kHead || tied) out_.head_weights = bytes;
    out_.weights += bytes;
  }

  /// cos and sin of every position, one table a distinct rotary embedding:
  /// context_limit x rotary_dim in the activation format. Source: vLLM RotaryEmbedding, its
  /// cos_sin_cache of [max_position, rotary_dim].
  Bytes rotary_tables() const {
    std::vector<std::pair<double, std::int64_t>> seen;
    Bytes bytes;
    for (const LayerKind& kind : model_.kinds) {
      const Rope& rope = kind.layer.mixer.rope;
      const std::pair<double, std::int64_t> key{rope.theta, rope.rotary_dim};
      if (card_.position != PositionKind::kRope || rope.rotary_dim == 0) continue;
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) continue;
      seen.push_back(key);
      bytes +=
          Bytes{formats_.dtype_bytes} * detail::checked_mul(card_.context_limit, rope.rotary_dim);
    }
    return bytes;
  }

  const ModelCard& card_;
  const EngineFormats& formats_;
  int tp_, group_tp_;
  RankModel model_, group_;   // split over all tensor ranks, and over those of one group
  std::int64_t experts_ = 1;  // of the layer at hand
  EngineModel out_;
};

}  // namespace

const char* name_of(Quantization quantization) {
  for (const QuantizationName& entry : kQuantizationNames) {
    if (entry.quantization == quantization) return entry.name;
  }
  return "?";
}

Quantization parse_quantization(const std::string& text) {
  std::vector<std::string> names;
  for (const QuantizationName& entry : kQuantizationNames) {
    if (text == entry.name) return entry.quantization;
    names.emplace_back(entry.name);
  }
  throw Error(ErrorCode::kUsage,
              fmt::format("'{}' does not say how many bits a weight takes", printable(text)))
      .at("", "--quantization")
      .help(did_you_mean(text, names, names.size()));
}

QuantizedParts parse_quantized_parts(const std::string& text) {
  if (text == "all") return QuantizedParts::kAll;
  if (text == "feed_forward") return QuantizedParts::kFeedForward;
  if (text == "experts") return QuantizedParts::kExperts;
  throw Error(ErrorCode::kUsage, fmt::format("'{}' names no part of a model", printable(text)))
      .at("", "--quantized-parts")
      .help(did_you_mean(text, {"all", "feed_forward", "experts"}));
}

Bytes quantised_bytes(Quantization quantization, std::int64_t rows, std::int64_t columns) {
  const std::int64_t n = detail::checked_mul(rows, columns);
  switch (quantization) {
    case Quantization::kNone:
      return Bytes{2} * n;
    case Quantization::kFp8:
    case Quantization::kInt8:
      return Bytes{n} + Bytes{4} * rows;
    case Quantization::kFp8Block:
      return Bytes{n} + Bytes{4} * detail::checked_mul(ceil_div(rows, 128), ceil_div(columns, 128));
    case Quantization::kInt4:
      return Bytes{ceil_div(n, 2)} +
             Bytes{ceil_div(detail::checked_mul(rows, ceil_div(columns, 128)) * 5, 2)};
    case Quantization::kMxfp4:
      return Bytes{17} * detail::checked_mul(rows, ceil_div(columns, 32));
    case Quantization::kNvfp4:
      return Bytes{9} * detail::checked_mul(rows, ceil_div(columns, 16)) + Bytes{4};
  }
  return {};
}

BytesPerToken EngineModel::kv_bytes_per_token() const {
  BytesPerToken sum;
  for (const KvLayers& entry : kv) sum = sum + entry.bytes_per_token * entry.layers;
  return sum;
}

void EngineModel::keep(const KvLayers& more) {
  for (KvLayers& known : kv) {
    if (known.kind == more.kind && known.window == more.window &&
        known.bytes_per_token == more.bytes_per_token) {
      known.layers += more.layers;
      return;
    }
  }
  kv.push_back(more);
}

EngineModel engine_model(const ModelSource& source, const Decisions& decisions,
                         const EngineFormats& formats, int rank) {
  ModelSource named = source;
  named.stored = stored_by_gguf_name(source);
  Decisions asked = decisions;
  // An engine's format replaces the stored one, padding where its blocks do not divide a row.
  if (formats.quantization != Quantization::kNone) asked.weights = DType::kBF16;
  return Builder(named, asked, formats, rank).run();
}

}  // namespace vramplan
