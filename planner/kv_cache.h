#pragma once
// KV cache: bytes a token takes in each kind of layer, bytes of a block on a rank, and how many
// blocks a run needs. Counts blocks of tokens; knows nothing of the pool that hands them out.
#include "planner/weights.h"

namespace vramplan {

/// K and V of one token in one layer on a rank: kv_heads * (head_dim + value_dim) * element bytes.
/// Example: 8 heads of 128 in f16 = 4096 B. Zero for a layer without a mixer.
BytesPerToken kv_bytes_per_token(const LayerShape& shape, KvFormat format);
/// Sum over the rank's layers.
BytesPerToken kv_bytes_per_token(const RankModel& model, KvFormat format);
/// Sum over all layers of the card, before sharding. Errors: kUnsupported, kOverflow.
BytesPerToken kv_bytes_per_token(const ModelCard& card, KvFormat format);

/// K and V of every layer of the rank for one block of tokens.
Bytes kv_block_bytes(const RankModel& model, KvFormat format, TokensPerBlock block);
/// batch * ceil(context / block).
Blocks kv_blocks(std::int64_t batch, Tokens context, TokensPerBlock block);

/// Tokens a windowed layer must keep while chunks of `chunk` tokens are prefilled:
/// min(window - 1 + chunk, context); the whole context when there is no window. The executor keeps
/// all tokens today, so the account does not use it yet. Source: vLLM, kv_cache_interface (sliding
/// window).
Tokens windowed_tokens(const Mixer& mixer, Tokens context, Tokens chunk);
/// What keeping only the window would take off the cache of this rank, all sequences together.
Bytes window_saving(const RankModel& model, const Decisions& decisions);

}  // namespace vramplan
