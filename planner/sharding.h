#pragma once
// Sharding: which part of the model one rank holds. Tensor parallelism splits q heads, intermediate
// and vocabulary inside a layer; pipeline stages split the list of layers. Says nothing about
// bytes.
#include <cstdint>
#include <optional>
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_card.h"
#include "planner/decisions.h"

namespace vramplan {

/// Rank r = (stage * cp + context_rank) * tp + tensor_rank.
struct RankShape {
  int rank = 0, stage = 0, tensor_rank = 0;
  int tp = 1, pp = 1, cp = 1, ep = 1;
  LayerRange layers;            // of the card
  std::int64_t vocab_rows = 0;  // rows of embedding and head on this rank: ceil(vocab / tp)
  bool embedding = true;        // first stage: token table and learned positions
  bool head = true;             // last stage: final norm and head
};

/// Widths of one layer on one rank; all in elements, zero where the layer has no such part.
struct LayerShape {
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t q = 0;             // heads * head_dim
  std::int64_t k = 0;             // kv_heads * head_dim
  std::int64_t v = 0;             // kv_heads * value_dim
  std::int64_t o = 0;             // heads * value_dim
  std::int64_t intermediate = 0;  // of one expert when MoE
  std::int64_t experts = 0;       // on this rank
  std::int64_t shared_intermediate = 0;
  std::int64_t latent = 0;        // MLA: cached elements a token, the same on every rank
  std::int64_t index = 0;         // cached elements a token of a sparse attention's indexer
  std::int64_t linear_heads = 0;  // of a linear mixer
  std::int64_t linear_inner = 0, linear_keys = 0;
};

/// kv heads are split, or replicated when there are fewer than ranks: max(1, kv_heads / tp).
std::int64_t kv_heads_of_rank(std::int64_t kv_heads, int tp);
/// `ep`: of the tp ranks those that share whole experts; each has experts / ep of them, split over
/// tp / ep ranks.
LayerShape layer_shape(const Layer& layer, int tp, int ep = 1);
RankShape rank_shape(const ModelCard& card, const Sharding& sharding, int rank);

/// tp values up to `most` that split every layer evenly: tp divides heads and intermediate, and
/// kv_heads is a multiple of tp or, when smaller, divides it; the same for the heads and keys of a
/// linear mixer. With `ep` a multiple of it, which also divides the experts of every MoE layer, and
/// an expert's intermediate need only divide by tp / ep; none for a model without experts.
std::vector<int> valid_tensor_parallel(const ModelCard& card, int most, int ep = 1);

/// The largest of `ranks` draws with this mean and variance, about: the mean and sqrt(2 ln ranks)
/// deviations, the growth of the maximum of normal draws. One rank: the mean.
double busiest(double mean, double variance, double ranks);

struct ShardingRequest {
  std::optional<int> count, tp, pp, cp, ep;
};
/// What was asked for, or the default: cp and ep are 1, tp is the largest valid divisor of count /
/// cp within one node ("one machine before many"), pp = count / (tp x cp).
/// Errors: kUsage when tp or ep do not split the model (names the values that do), when tp x pp x
/// cp is not the count, or when there are more stages than layers.
Sharding choose_sharding(const ModelCard& card, const DeviceCard& device,
                         const ShardingRequest& request);

}  // namespace vramplan
