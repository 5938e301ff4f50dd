#include "planner/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "planner/kv_mix.h"
#include "planner/weight_mix.h"
#include "planner/weight_offload.h"
#include "planner/weight_specs.h"

namespace vramplan {
namespace {

bool is_plain_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Tensors of a file by name; remembers which were asked for, so that none is left without a place.
class StoredIndex {
 public:
  void read(const std::vector<StoredTensor>& stored) {
    by_name_.reserve(stored.size());
    for (const StoredTensor& tensor : stored) by_name_.emplace(tensor.name, &tensor);
  }
  bool empty() const { return by_name_.empty(); }
  bool has(const std::string& name) const { return by_name_.count(name) > 0; }

  /// Null when neither the tensor nor a fused one that holds it is in the file.
  const StoredTensor* find(const WeightSpec& spec, const std::string& prefix) {
    const StoredTensor* own = find(prefix + spec.name);
    const bool fits =
        own != nullptr && own->columns == spec.whole_columns && own->rows == spec.whole_rows;
    if (fits || spec.fused_name == nullptr) {
      check_shape(own, spec.whole_rows, spec.whole_columns);
      return own;
    }
    const StoredTensor* fused = find(prefix + spec.fused_name);
    if (spec.is_vector)
      check_shape(fused, 1, spec.fused_rows);
    else
      check_shape(fused, spec.fused_rows, spec.whole_columns);
    return fused;
  }

  void refuse_left_over(const ModelCard& card) const {
    // Layers past the last predict further tokens; without mtp_loaded they stay in the file.
    const auto unread_layer = [&](std::string_view name) {
      for (std::int64_t i = 0; i < card.mtp_layers && !card.mtp_loaded; ++i) {
        if (name.rfind(fmt::format("blk.{}.", card.layer_count() + i), 0) == 0) return true;
      }
      return false;
    };
    for (const auto& [name, tensor] : by_name_) {
      if (unread_layer(name)) continue;
      const bool host_table = name.rfind("rope_", 0) == 0;  // rotary factors are read on the host
      if (host_table || used_.count(name) > 0) continue;
      throw Error(ErrorCode::kUnsupported,
                  "the file holds a tensor that no account has a place for: " + std::string(name))
          .help("the model has a part this planner does not know");
    }
  }

 private:
  const StoredTensor* find(const std::string& name) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    used_.insert(found->first);
    return found->second;
  }

  static void check_shape(const StoredTensor* tensor, std::int64_t rows, std::int64_t columns) {
    if (tensor == nullptr || (tensor->rows == rows && tensor->columns == columns)) return;
    throw Error(ErrorCode::kBadCard,
                fmt::format("tensor {} is {} x {} in the file, {} x {} by the card", tensor->name,
                            tensor->rows, tensor->columns, rows, columns))
        .help("the file and its metadata (or an override with --set) contradict each other");
  }

  std::unordered_map<std::string_view, const StoredTensor*> by_name_;
  std::unordered_set<std::string_view> used_;
};

/// Chooses the format of a tensor.
class Formats {
 public:
  Formats(const ModelCard& card, const Decisions& decisions,
          const std::vector<StoredTensor>& stored)
      : decisions_(decisions),
        card_(card),
        matrices_(decisions.weights.value_or(card.stored_weights)),
        packed_(packed_rule(matrices_) != nullptr),
        // A packed checkpoint was made of a model in 16 bits.
        vectors_(is_plain_float(matrices_)             ? matrices_
                 : !packed_                            ? DType::kF32
                 : is_plain_float(card.stored_weights) ? card.stored_weights
                                                       : card.unpacked_weights),
        unpacked_(decisions.weights ? std::string() : card.unpacked) {
    if (!decisions.weights || !packed_) index_.read(stored);
  }

  bool from_file() const { return !index_.empty(); }
  bool has(const std::string& name) const { return index_.has(name); }
  /// Whether layers alike in shape may differ in format.
  bool by_layer() const {
    return from_file() || (packed_ && unpacked_.find("blk.") != std::string::npos);
  }

  /// Of a layer, or (-1) beside them. Empty when the file leaves an optional tensor out.
  std::optional<WeightTensor> tensor(const WeightSpec& spec, const std::string& prefix,
                                     std::int64_t layer = -1) {
    const bool table =
        spec.part == Part::kEmbedding || spec.part == Part::kPositions || spec.part == Part::kHead;
    const std::optional<DType> asked = weight_format(decisions_, layer);
    const bool named = asked != decisions_.weights;
    const bool plain =
        spec.is_vector || (packed_ && !named && (table || is_unpacked(prefix + spec.name)));
    DType dtype = plain ? vectors_ : named ? asked.value_or(card_.stored_weights) : matrices_;
    if (from_file()) {
      const StoredTensor* stored = index_.find(spec, prefix);
      if (stored == nullptr && spec.optional) return std::nullopt;
      if (stored == nullptr) {
        throw Error(ErrorCode::kBadCard, "the file has no tensor " + prefix + spec.name)
            .help("the file and the card (or an override with --set) contradict each other");
      }
      dtype = spec.is_vector ? stored->dtype : asked.value_or(stored->dtype);
    }
    const std::int64_t block = info(dtype).block_elements;
    if (spec.columns % block != 0) {
      throw Error(ErrorCode::kUsage,
                  fmt::format("rows of {} elements of {}{} do not divide into {} blocks of {}",
                              spec.columns, prefix, spec.name, info(dtype).name, block))
          .at("", named ? "--weight-layers" : "--weights")
          .help(
              "choose a format whose block divides the row on every rank, such as f16, or another "
              "--tp");
    }
    return WeightTensor{spec.group,   spec.name, dtype,        spec.rows,
                        spec.columns, spec.part, spec.matrices};
  }

  void refuse_left_over(const ModelCard& card) const { index_.refuse_left_over(card); }

 private:
  bool is_unpacked(const std::string& name) const {
    for (std::size_t at = 0; at < unpacked_.size();) {
      const std::size_t end = std::min(unpacked_.find(' ', at), unpacked_.size());
      if (end > at && name.find(unpacked_.substr(at, end - at)) != std::string::npos) return true;
      at = end + 1;
    }
    return false;
  }

  const Decisions& decisions_;
  const ModelCard& card_;
  DType matrices_;
  bool packed_;
  DType vectors_;
  std::string unpacked_;
  StoredIndex index_;
};

bool same_tensors(const std::vector<WeightTensor>& a, const std::vector<WeightTensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const WeightTensor& x, const WeightTensor& y) {
                      return x.dtype == y.dtype && x.rows == y.rows && x.columns == y.columns;
                    });
}

std::string layer_prefix(std::int64_t layer) { return fmt::format("blk.{}.", layer); }

/// Newer GGUF files keep what expands the latent in two tensors: K transposed, by heads, and V.
void split_expansion(const Mixer& mixer, std::vector<WeightSpec>& specs) {
  const std::int64_t keys = mixer.head_dim - mixer.qk_rope_dim, kvl = mixer.kv_lora_rank;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (std::string_view(specs[i].name) != "attn_kv_b.weight") continue;
    const std::int64_t heads = specs[i].rows / (keys + mixer.value_dim);
    WeightSpec k = specs[i], v = specs[i];
    k.name = "attn_k_b.weight";
    k.rows = detail::checked_mul(heads, kvl);
    k.whole_rows = detail::checked_mul(mixer.heads, kvl);
    k.columns = k.whole_columns = keys;
    v.name = "attn_v_b.weight";
    v.rows = detail::checked_mul(heads, mixer.value_dim);
    v.whole_rows = detail::checked_mul(mixer.heads, mixer.value_dim);
    specs[i] = k;
    specs.insert(specs.begin() + static_cast<std::ptrdiff_t>(i) + 1, v);
    return;
  }
}

std::vector<WeightTensor> layer_tensors(const ModelCard& card, std::int64_t index,
                                        const RankShape& shape, Formats& formats) {
  const std::string prefix = formats.by_layer() ? layer_prefix(index) : std::string{};
  std::vector<WeightTensor> tensors;
  const Layer& layer = card.layers[static_cast<std::size_t>(index)];
  std::vector<WeightSpec> specs = layer_specs(card, layer, shape.tp, shape.ep);
  if (formats.has(prefix + "attn_k_b.weight")) split_expansion(layer.mixer, specs);
  for (const WeightSpec& spec : specs) {
    if (auto tensor = formats.tensor(spec, prefix, index)) tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

/// Puts a layer into the kind it belongs to; a new kind when it is unlike all before.
void add_layer(RankModel& model, const ModelCard& card, std::int64_t index,
               const Decisions& decisions, Formats& formats) {
  const std::optional<KvEncoding> cache = named_kv_encoding(decisions, index);
  const std::optional<DType> weights = weight_format(decisions, index);
  const Layer& layer = card.layers[static_cast<std::size_t>(index)];
  std::vector<WeightTensor> tensors;
  if (formats.by_layer()) tensors = layer_tensors(card, index, model.shape, formats);
  for (std::size_t k = 0; k < model.kinds.size(); ++k) {
    LayerKind& kind = model.kinds[k];
    // Equal in every field.
    if (!(kind.layer == layer) || kind.cache != cache || kind.weights != weights) continue;
    if (formats.by_layer() && !same_tensors(kind.tensors, tensors)) continue;
    ++kind.count;
    model.kind_of_layer.push_back(k);
    return;
  }
  if (!formats.by_layer()) tensors = layer_tensors(card, index, model.shape, formats);
  model.kind_of_layer.push_back(model.kinds.size());
  model.kinds.push_back({layer, layer_shape(layer, model.shape.tp, model.shape.ep), 1, 0,
                         std::move(tensors), cache, weights});
}

/// Layers that predict further tokens, on the last stage: their tensors are one group.
void add_mtp(RankModel& model, const ModelCard& card, Formats& formats) {
  model.mtp_layers = card.mtp_layers;
  for (std::int64_t i = 0; i < card.mtp_layers; ++i) {
    const std::string prefix = layer_prefix(card.layer_count() + i);
    std::vector<WeightSpec> specs =
        layer_specs(card, card.layers.back(), model.shape.tp, model.shape.ep);
    for (const WeightSpec& spec : mtp_specs(card)) specs.push_back(spec);
    for (const WeightSpec& spec : specs) {
      auto tensor = formats.tensor(spec, prefix);
      if (!tensor) continue;
      tensor->name = prefix + tensor->name;
      tensor->group = "mtp";
      tensor->part = tensor->part == Part::kVector ? Part::kVector : Part::kMatrix;
      model.outside.push_back(std::move(*tensor));
    }
  }
}

}  // namespace

ParameterCount count_parameters(const ModelCard& card) {
  ParameterCount count;
  const auto add = [&](const WeightSpec& spec, const FeedForward* ff, std::int64_t times) {
    const Elements all{detail::checked_mul(spec.whole_rows, spec.whole_columns)};
    const bool expert = spec.part == Part::kExpertGate || spec.part == Part::kExpertUp ||
                        spec.part == Part::kExpertDown;
    count.total += all * times;
    count.active += (expert ? Elements{all.n / ff->experts} * ff->experts_per_token : all) * times;
  };
  RankShape whole;
  whole.vocab_rows = card.vocab;
  for (const WeightSpec& spec : outside_specs(card, whole)) add(spec, nullptr, 1);
  for (std::size_t i = 0; i < card.layers.size();) {
    std::size_t end = i + 1;
    while (end < card.layers.size() && card.layers[i] == card.layers[end]) ++end;
    for (const WeightSpec& spec : layer_specs(card, card.layers[i], 1)) {
      add(spec, &card.layers[i].feed_forward, static_cast<std::int64_t>(end - i));
    }
    i = end;
  }
  if (card.mtp_loaded) {
    const FeedForward& ff = card.layers.back().feed_forward;
    for (const WeightSpec& spec : layer_specs(card, card.layers.back(), 1)) {
      add(spec, &ff, card.mtp_layers);
    }
    for (const WeightSpec& spec : mtp_specs(card)) add(spec, nullptr, card.mtp_layers);
  }
  return count;
}

RankModel rank_model(const ModelCard& card, const Decisions& decisions,
                     const std::vector<StoredTensor>& stored, int rank) {
  check_weight_layers(card, decisions);
  Formats formats(card, decisions, stored);
  RankModel model;
  model.mixed_weights = !decisions.weight_layers.empty();
  model.shape = rank_shape(card, decisions.sharding, rank);
  model.hidden = card.hidden;
  model.vocab = card.vocab;
  model.logit_softcap = card.logit_softcap;
  model.final_norm = card.final_norm;
  model.rms_norms = card.norm == NormKind::kRms;
  for (const WeightSpec& spec : outside_specs(card, model.shape)) {
    if (auto tensor = formats.tensor(spec, {})) model.outside.push_back(std::move(*tensor));
  }
  for (const WeightTensor& tensor : model.outside) {
    if (tensor.part == Part::kEmbedding) model.embedding_dtype = model.head_dtype = tensor.dtype;
    if (tensor.group == "positions") model.positions_dtype = tensor.dtype;
  }
  for (const WeightTensor& tensor : model.outside) {
    if (tensor.part == Part::kHead) model.head_dtype = tensor.dtype;
  }
  for (std::int64_t i = model.shape.layers.begin; i < model.shape.layers.end; ++i) {
    add_layer(model, card, i, decisions, formats);
  }
  mark_streamed(model, decisions);
  // Only a rank that reads the whole table can say that a tensor has no place.
  if (card.mtp_loaded && model.shape.head) add_mtp(model, card, formats);
  if (formats.from_file() && model.shape.pp == 1) formats.refuse_left_over(card);
  return model;
}

std::vector<WeightTensor> rank_weight_tensors(const ModelCard& card, const Decisions& decisions,
                                              int rank, const std::vector<StoredTensor>& stored) {
  const RankModel model = rank_model(card, decisions, stored, rank);
  std::vector<WeightTensor> tensors;
  const auto add_outside = [&](bool before) {
    for (const WeightTensor& tensor : model.outside) {
      const bool first = tensor.part == Part::kEmbedding || tensor.part == Part::kPositions;
      if (first == before) tensors.push_back(tensor);
    }
  };
  add_outside(true);
  for (std::size_t i = 0; i < model.kind_of_layer.size(); ++i) {
    const std::string prefix =
        layer_prefix(model.shape.layers.begin + static_cast<std::int64_t>(i));
    for (WeightTensor tensor : model.kinds[model.kind_of_layer[i]].tensors) {
      tensor.name = prefix + tensor.name;
      tensors.push_back(std::move(tensor));
    }
  }
  add_outside(false);
  return tensors;
}

const WeightTensor* find_part(const LayerKind& kind, Part part) {
  for (const WeightTensor& tensor : kind.tensors) {
    if (tensor.part == part) return &tensor;
  }
  return nullptr;
}

}  // namespace vramplan
