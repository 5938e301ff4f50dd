#pragma once
// RankWeights: the weight tensors of one rank, and the walk over them in the order of the forward
// pass.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "executor/model_part.h"
#include "kernels/tensor.h"

namespace vramplan {

/// Weight and bias of a norm; bias is empty for RMSNorm.
struct NormWeights {
  TensorView weight, bias;
  bool present() const { return weight.data != nullptr; }
};

struct LinearWeights {
  WeightView weight;  // [out, in]
  TensorView bias;    // [1, out] or empty
};

struct LayerWeights {
  NormWeights attention_norm, feed_forward_norm, post_attention_norm, post_feed_forward_norm;
  LinearWeights q, k, v, output;
  TensorView q_norm, k_norm;  // [1, head_dim] or empty
  LinearWeights gate, up, down;
};

struct RankWeights {
  WeightView embedding;  // [vocab_rows, hidden], first stage
  WeightView positions;  // [learned_positions, hidden], first stage
  std::vector<LayerWeights> layers;
  NormWeights final_norm;  // last stage
  LinearWeights head;      // [vocab_rows, hidden], last stage; the embedding table when tied
};

enum class TensorRole : std::uint8_t { kMatrix, kTable, kNorm, kBias };

/// One tensor of a rank: its name in a GGUF file, its row of the ledger and its shape here.
struct TensorSpec {
  TensorSpec(std::string name_, std::string group_, TensorRole role_, std::int64_t rows_,
             std::int64_t columns_)
      : name(std::move(name_)),
        group(std::move(group_)),
        role(role_),
        rows(rows_),
        columns(columns_) {}

  std::string name, group;
  TensorRole role;
  std::int64_t rows, columns;
  std::string fused_name;  // a file may hold it as rows (a bias: columns) of this tensor instead
  std::int64_t fused_begin = 0, fused_size = 0;
  bool optional = false;    // a file may leave it out
  std::int64_t layer = -1;  // of the rank, from 0
};

/// Calls `visit` for every tensor the rank holds, with the place its view belongs to. A tied head
/// on the rank of the embedding is no tensor of its own.
void for_each_tensor(const ModelCard& card, const ModelPart& part, RankWeights& weights,
                     const std::function<void(const TensorSpec&, TensorView&)>& visit);

}  // namespace vramplan
