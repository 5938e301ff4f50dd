// Half of weight_specs.h: tensors that belong to no layer, and those that a card lists by name.
#include "planner/weight_specs.h"

namespace vramplan {
namespace {

std::int64_t part_of(std::int64_t whole, bool split, int tp) {
  return split ? ceil_div(whole, tp) : whole;
}

}  // namespace

WeightSpec extra_spec(const ExtraTensor& extra, int tp) {
  WeightSpec spec{extra.name.c_str(),
                  extra.group.c_str(),
                  Part::kMatrix,
                  part_of(extra.rows, extra.split == Split::kRows, tp),
                  part_of(extra.columns, extra.split == Split::kColumns, tp),
                  extra.rows,
                  extra.columns};
  spec.is_vector = extra.rows == 1 || !extra.quantisable;
  if (spec.is_vector) spec.part = Part::kVector;
  if (extra.group == "embedding") spec.part = Part::kPositions;  // a table: rows are looked up
  return spec;
}

std::vector<WeightSpec> mtp_specs(const ModelCard& card) {
  const std::int64_t h = card.hidden, two = detail::checked_mul(2, h);
  std::vector<WeightSpec> specs{{"nextn.eh_proj.weight", "mtp", Part::kMatrix, h, two, h, two}};
  for (const char* name :
       {"nextn.enorm.weight", "nextn.hnorm.weight", "nextn.shared_head_norm.weight"}) {
    specs.push_back({name, "mtp", Part::kVector, 1, h, 1, h, nullptr, 0, true, false});
  }
  return specs;
}

std::vector<WeightSpec> outside_specs(const ModelCard& card, const RankShape& shape) {
  std::vector<WeightSpec> specs;
  const std::int64_t h = card.hidden;
  const auto vector = [&](const char* name, const char* group, std::int64_t columns,
                          std::int64_t whole) {
    specs.push_back({name, group, Part::kVector, 1, columns, 1, whole, nullptr, 0, true, false});
  };
  if (shape.embedding) {
    specs.push_back(
        {"token_embd.weight", "embedding", Part::kEmbedding, shape.vocab_rows, h, card.vocab, h});
    if (card.learned_positions > 0) {
      specs.push_back({"position_embd.weight", "positions", Part::kPositions,
                       card.learned_positions, h, card.learned_positions, h});
    }
    for (const ExtraTensor& extra : card.extras) specs.push_back(extra_spec(extra, shape.tp));
  }
  if (!shape.head) return specs;
  if (card.final_norm && card.norm != NormKind::kLayerPlain) {
    vector("output_norm.weight", "norms", h, h);
    if (card.norm == NormKind::kLayer) {
      vector("output_norm.bias", "norms", h, h);
      specs.back().optional = true;
    }
  }
  // A tied head is the embedding table; a last stage that is not the first holds a copy of it.
  if (!card.tied_head || !shape.embedding) {
    const char* name = card.tied_head ? "token_embd.weight" : "output.weight";
    specs.push_back({name, "head", Part::kHead, shape.vocab_rows, h, card.vocab, h});
  }
  if (card.head_bias) vector("output.bias", "head", shape.vocab_rows, card.vocab);
  return specs;
}

}  // namespace vramplan
