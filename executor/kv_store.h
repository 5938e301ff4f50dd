#pragma once
// KvStore: where the K and V of each layer lie inside the blocks of a pool. A block holds, for
// every layer of the rank, K [kv_heads, block_tokens, head_dim] and then V [kv_heads, block_tokens,
// value_dim].
#include <vector>

#include "executor/block_pool.h"
#include "executor/model_part.h"
#include "kernels/ops.h"

namespace vramplan {

class KvStore {
 public:
  KvStore(const BlockPool& pool, const ModelCard& card, const ModelPart& part, KvFormat format,
          TokensPerBlock block);

  /// sum over the rank's layers of block * kv_heads * (head_dim + value_dim) * element bytes.
  static Bytes block_bytes(const ModelCard& card, const ModelPart& part, KvFormat format,
                           TokensPerBlock block);

  /// `layer` counts from the rank's first layer.
  const KvLayerView& layer(std::int64_t layer) const {
    return layers_[static_cast<std::size_t>(layer)];
  }

 private:
  std::vector<KvLayerView> layers_;
};

}  // namespace vramplan
