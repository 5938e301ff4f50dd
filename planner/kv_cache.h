#pragma once
// KV cache: bytes a token takes in each kind of layer, bytes of a block on a rank, and how many
// blocks a run needs. Counts blocks of tokens; knows nothing of the pool that hands them out.
#include "planner/weights.h"

namespace vramplan {

/// K and V of one token in one layer on a rank. In plain formats kv_heads * (head_dim + value_dim)
/// * element bytes; 8 heads of 128 in f16 = 4096 B. MLA: kv_lora_rank + rope elements, on every
/// rank; an indexer adds its keys. Zero for a layer without a cache of its own (linear, shared).
/// int8, int4: 4 B of scale per head for K and for V (vLLM, per token and head). q8_0, q4_0: rows
/// of all heads (llama.cpp). nvfp4: a scale byte per 16 elements (vLLM). kivi2, kivi4: 3.0
/// and 5.0 bits, groups of 32 with scale and zero in f16 (KIVI). fp8_ds_mla: latent in fp8, f32
/// scales per 128, rope in 16 bits: 656 B for 512 + 64 (vLLM). nvfp4_ds_mla: 368 B for 512 + 64
/// (vLLM fork, no formula published). Heads that stay full count in f16. Errors: kUsage when the
/// format does not suit the layer.
BytesPerToken kv_bytes_per_token(const LayerShape& shape, const KvEncoding& encoding);
/// Sum over the rank's layers, all in one format.
BytesPerToken kv_bytes_per_token(const RankModel& model, KvFormat format);
/// Sum over all layers of the card, before sharding. Errors: kUsage, kOverflow.
BytesPerToken kv_bytes_per_token(const ModelCard& card, KvFormat format);
/// The same where each layer has the format that was decided for it.
BytesPerToken kv_bytes_per_token(const ModelCard& card, const Decisions& decisions);

/// K and V of every layer of the rank for one block of tokens.
Bytes kv_block_bytes(const RankModel& model, KvFormat format, TokensPerBlock block);
/// Of layers that keep every token. Each prompt alone: batch * ceil(context / block). `samples` of
/// one prompt of p tokens share its floor(p / block) whole blocks; the one that is begun is copied
/// when the second of them writes (copy on write). A shared prefix: its whole blocks once, of at
/// most p - 1 tokens, since the last one must be computed for its logits. With preemption: those of
/// the pool, all of which are held at some time.
Blocks kv_blocks(const Decisions& decisions);
/// Of layers behind a residual window batch * ceil(history_tokens / block), which kv_blocks is
/// where all layers are.
Tokens history_tokens(const Decisions& decisions);  // a sequence, when its last token is cached
Blocks history_blocks(const Decisions& decisions);
/// Blocks of 32 tokens: batch * ceil(min(residual window, context - 1) / 32). The last token
/// generated is never cached.
Blocks residual_blocks(const Decisions& decisions);
/// The same with nothing shared: what copies would take.
Blocks kv_blocks_unshared(const Decisions& decisions);

// The rows of a rank's cache. Their sum is kv_bytes.
/// Of the layers that keep every token: all, or under KvPolicy::kWindow those without a window.
BytesPerToken kv_growing_per_token(const RankModel& model, const Decisions& decisions);
/// Of the device: with a placement beyond it, of the layers that stay, and staging.
Bytes kv_growing_bytes(const RankModel& model, const Decisions& decisions);
/// What a further block of every layer takes on the device.
Bytes kv_device_block_bytes(const RankModel& model, const Decisions& decisions);
/// Staging alone, and what lies beyond the device; 0 where everything is on it.
Bytes kv_staging_bytes(const RankModel& model, const Decisions& decisions);
Bytes kv_far_bytes(const RankModel& model, const Decisions& decisions);
/// Of the layers that keep a window: blocks of each group as kept_blocks of kv_groups.h counts
/// them.
Bytes kv_window_bytes(const RankModel& model, const Decisions& decisions);
/// Of linear mixers, whatever the context: (kernel - 1) inputs of each convolution in the
/// activations' format and the recurrent state in its own, per sequence.
Bytes kv_state_bytes(const RankModel& model, const Decisions& decisions);
/// Of a residual window: residual_blocks x 32 tokens in f16, of the layers that have one.
BytesPerToken kv_residual_per_token(const RankModel& model, const Decisions& decisions);
Bytes kv_residual_bytes(const RankModel& model, const Decisions& decisions);
Bytes kv_bytes(const RankModel& model, const Decisions& decisions);
/// The same where each part of the cache begins at a multiple of 256 B.
Bytes kv_region_bytes(const RankModel& model, const Decisions& decisions);

/// State of one sequence in one layer on a rank.
Bytes linear_state_bytes(const LinearMixer& linear, const LayerShape& shape, DType activations);

/// What keeping only the window would take off the cache of this rank, all sequences together.
Bytes window_saving(const RankModel& model, const Decisions& decisions);

}  // namespace vramplan
