#include "planner/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/kv_groups.h"
#include "planner/kv_mix.h"
#include "planner/kv_offload.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMlaScaleGroup = 128;  // of fp8_ds_mla

[[noreturn]] void unsuitable(KvFormat format, const std::string& why) {
  throw Error(ErrorCode::kUsage,
              fmt::format("the KV format {} does not suit this model: {}", name_of(format), why))
      .at("", "--kv-cache-dtype")
      .help("bf16, fp8 and int8 suit every layer");
}

/// Bytes of `heads` heads of `width` elements each.
std::int64_t vector_bytes(KvFormat format, std::int64_t heads, std::int64_t width) {
  const std::int64_t elements = detail::checked_mul(heads, width);
  const auto whole = [&](std::int64_t divisor) {
    if (elements % divisor != 0 || width % std::min(divisor, std::int64_t{16}) != 0) {
      unsuitable(format, fmt::format("{} heads of {} do not divide into its groups", heads, width));
    }
    return elements / divisor;
  };
  switch (format) {
    case KvFormat::kF32:
    case KvFormat::kF16:
    case KvFormat::kBF16:
    case KvFormat::kFp8:
      return bytes_of(dtype_of(format), 1, elements).n;
    case KvFormat::kInt8:
      return elements + 4 * heads;
    case KvFormat::kInt4:
      return ceil_div(width, 2) * heads + 4 * heads;
    case KvFormat::kQ8_0:
      return whole(32) * 34;
    case KvFormat::kQ4_0:
      return whole(32) * 18;
    case KvFormat::kNvfp4:
      return whole(16) * 9;
    case KvFormat::kKivi2:
    case KvFormat::kKivi4:
      // K has a scale a channel, V one for 32 channels of a head.
      if (width % 32 != 0) {
        unsuitable(format, fmt::format("heads of {} do not divide into its groups of 32", width));
      }
      return whole(32) * info(dtype_of(format)).block_bytes;
    case KvFormat::kFp8DsMla:
    case KvFormat::kNvfp4DsMla:
      break;
  }
  unsuitable(format, "it is for latent attention");
}

std::int64_t latent_bytes(KvFormat format, std::int64_t latent) {
  // The formats are laid out for 512 + 64 elements, which all published models with them have.
  const bool published = latent == 576;
  if (format == KvFormat::kFp8DsMla && published) {
    return 512 + 4 * (512 / kMlaScaleGroup) + 2 * 64;
  }
  if (format == KvFormat::kNvfp4DsMla && published) return 368;
  if (format == KvFormat::kFp8DsMla || format == KvFormat::kNvfp4DsMla) {
    unsuitable(format, fmt::format("its latent has {} elements, not 512 + 64", latent));
  }
  return vector_bytes(format, 1, latent);
}

/// Keys of an indexer: 16 bits, or fp8 with an f32 scale per 128 beside a quantised cache.
std::int64_t index_bytes(KvFormat format, std::int64_t width) {
  const bool plain =
      format == KvFormat::kF32 || format == KvFormat::kF16 || format == KvFormat::kBF16;
  if (plain) return bytes_of(dtype_of(format), 1, width).n;
  return width + 4 * ceil_div(width, kMlaScaleGroup);
}

}  // namespace

BytesPerToken kv_bytes_per_token(const LayerShape& shape, const KvEncoding& encoding) {
  const KvFormat format = encoding.format;
  std::int64_t bytes = 0;
  if (shape.latent > 0) {
    bytes = latent_bytes(format, shape.latent);
  } else if (shape.kv_heads > 0) {
    const std::int64_t key = shape.k / shape.kv_heads, value = shape.v / shape.kv_heads;
    const std::int64_t full = encoding.full_heads.count(), others = shape.kv_heads - full;
    bytes = vector_bytes(format, others, key) + vector_bytes(format, others, value);
    bytes += vector_bytes(KvFormat::kF16, full, key) + vector_bytes(KvFormat::kF16, full, value);
  }
  if (shape.index > 0) bytes += index_bytes(format, shape.index);
  return {bytes};
}

BytesPerToken kv_bytes_per_token(const RankModel& model, KvFormat format) {
  BytesPerToken sum;
  for (const LayerKind& kind : model.kinds) {
    sum = sum + kv_bytes_per_token(kind.shape, format) * kind.count;
  }
  if (model.mtp_layers > 0) {
    sum = sum + kv_bytes_per_token(model.kinds.back().shape, format) * model.mtp_layers;
  }
  return sum;
}

BytesPerToken kv_bytes_per_token(const ModelCard& card, KvFormat format) {
  BytesPerToken sum;
  for (const Layer& layer : card.layers) {
    sum = sum + kv_bytes_per_token(layer_shape(layer, 1), format);
  }
  if (card.mtp_loaded) {
    sum = sum + kv_bytes_per_token(layer_shape(card.layers.back(), 1), format) * card.mtp_layers;
  }
  return sum;
}

BytesPerToken kv_bytes_per_token(const ModelCard& card, const Decisions& decisions) {
  BytesPerToken sum;
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    const Layer& layer = card.layers[static_cast<std::size_t>(i)];
    sum = sum + kv_bytes_per_token(layer_shape(layer, 1), kv_encoding(decisions, i));
  }
  if (card.mtp_loaded) {
    const LayerShape shape = layer_shape(card.layers.back(), 1);
    sum = sum + kv_bytes_per_token(shape, decisions.kv_format) * card.mtp_layers;
  }
  return sum;
}

Bytes kv_block_bytes(const RankModel& model, KvFormat format, TokensPerBlock block) {
  return kv_bytes_per_token(model, format) * Tokens{block.n};
}

Tokens history_tokens(const Decisions& decisions) {
  const KvResidual& residual = decisions.kv_residual;
  const Tokens packed = packed_tokens(decisions.context - Tokens{1}, residual.tokens);
  return {packed.n / residual.stride};
}

Blocks history_blocks(const Decisions& decisions) {
  return blocks_for(history_tokens(decisions), decisions.block) * decisions.batch;
}

Blocks residual_blocks(const Decisions& decisions) {
  const KvResidual& residual = decisions.kv_residual;
  if (!residual.any()) return {};
  return blocks_for(std::min(residual.tokens, decisions.context - Tokens{1}), kResidualBlock) *
         decisions.batch;
}

Blocks kv_blocks_unshared(const Decisions& decisions) {
  if (decisions.kv_residual.any() && !mixes_windows(decisions)) return history_blocks(decisions);
  return blocks_for(decisions.context, decisions.block) * decisions.batch;
}

Blocks kv_blocks(const Decisions& decisions) {
  if (decisions.preempt != Preempt::kNone) return decisions.kv_blocks;
  if (decisions.kv_residual.any()) return kv_blocks_unshared(decisions);
  const Blocks whole = blocks_for(decisions.context, decisions.block);
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  if (decisions.samples > 1) {
    const Blocks shared{floor_div(prompt, decisions.block.n)};
    // Without a step nobody writes behind the prompt.
    const bool writes = decisions.output.n > 1;
    const auto prompt_blocks = [&](std::int64_t samples) {
      return shared + (whole - shared) * (writes ? samples : 1);
    };
    const std::int64_t rest = decisions.batch % decisions.samples;
    return prompt_blocks(decisions.samples) * (decisions.batch / decisions.samples) +
           (rest > 0 ? prompt_blocks(rest) : Blocks{});
  }
  const Tokens most = std::min(decisions.shared_prefix, Tokens{prompt - 1});
  const Blocks shared{floor_div(std::max<std::int64_t>(0, most.n), decisions.block.n)};
  return shared + (whole - shared) * decisions.batch;
}

BytesPerToken kv_growing_per_token(const RankModel& model, const Decisions& decisions) {
  BytesPerToken sum;
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions)) {
    if (group.keep.all()) sum = sum + group.per_token;
  }
  return sum;
}

Bytes kv_growing_bytes(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_placement != KvPlacement::kDevice) {
    return kv_device_block_bytes(model, decisions) * kv_blocks(decisions).n;
  }
  Bytes sum;
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions)) {
    if (!group.keep.all()) continue;
    sum += group.per_token * (decisions.block * kept_blocks(group.keep, decisions));
  }
  return sum;
}

Bytes kv_device_block_bytes(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_placement == KvPlacement::kDevice) {
    return kv_growing_per_token(model, decisions) * Tokens{decisions.block.n};
  }
  return kv_offload_bytes(model, decisions).device_block();
}

Bytes kv_staging_bytes(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_placement == KvPlacement::kDevice) return {};
  const KvOffloadBytes bytes = kv_offload_bytes(model, decisions);
  const Blocks blocks = kv_blocks(decisions);
  return bytes.far_part * bytes.staging * blocks.n;
}

Bytes kv_far_bytes(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_placement == KvPlacement::kDevice) return {};
  const Blocks blocks = kv_blocks(decisions);
  return kv_offload_bytes(model, decisions).far_block() * blocks.n;
}

Bytes kv_window_bytes(const RankModel& model, const Decisions& decisions) {
  Bytes sum;
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions)) {
    if (group.keep.all()) continue;
    sum += group.per_token * (decisions.block * kept_blocks(group.keep, decisions));
  }
  return sum;
}

Bytes linear_state_bytes(const LinearMixer& linear, const LayerShape& shape, DType activations) {
  if (linear.kind == LinearKind::kNone) return {};
  std::int64_t channels = 0, state = detail::checked_mul(shape.linear_inner, linear.key_dim);
  switch (linear.kind) {
    case LinearKind::kMamba:
      channels = shape.linear_inner;
      break;
    case LinearKind::kShortConv:
      channels = shape.linear_inner;
      state = 0;
      break;
    case LinearKind::kLightning:
    case LinearKind::kNone:
      break;
    case LinearKind::kMamba2:
    case LinearKind::kGatedDelta:
    case LinearKind::kKda:
      channels = shape.linear_inner + 2 * shape.linear_keys;
      break;
  }
  const std::int64_t taps = std::max<std::int64_t>(linear.conv_kernel - 1, 0);
  return bytes_of(activations, channels, taps) + bytes_of(linear.state_format, 1, state);
}

Bytes kv_state_bytes(const RankModel& model, const Decisions& decisions) {
  Bytes sum;
  for (const LayerKind& kind : model.kinds) {
    sum += linear_state_bytes(kind.layer.mixer.linear, kind.shape, decisions.activations) *
           kind.count * decisions.batch;
  }
  return sum;
}

BytesPerToken kv_residual_per_token(const RankModel& model, const Decisions& decisions) {
  BytesPerToken sum;
  for (const LayerKind& kind : model.kinds) {
    if (!has_window(decisions, kind.encoding(decisions).format)) continue;
    sum = sum + kv_bytes_per_token(kind.shape, KvFormat::kF16) * kind.count;
  }
  if (model.mtp_layers > 0 && has_window(decisions, decisions.kv_format)) {
    sum = sum + kv_bytes_per_token(model.kinds.back().shape, KvFormat::kF16) * model.mtp_layers;
  }
  return sum;
}

Bytes kv_residual_bytes(const RankModel& model, const Decisions& decisions) {
  const Blocks blocks = residual_blocks(decisions);
  if (blocks.n == 0) return {};
  return kv_residual_per_token(model, decisions) * (kResidualBlock * blocks);
}

Bytes kv_bytes(const RankModel& model, const Decisions& decisions) {
  return kv_growing_bytes(model, decisions) + kv_window_bytes(model, decisions) +
         kv_state_bytes(model, decisions) + kv_residual_bytes(model, decisions);
}

Bytes kv_region_bytes(const RankModel& model, const Decisions& decisions) {
  const Bytes granule{256};
  Bytes sum = round_up(kv_state_bytes(model, decisions), granule) +
              round_up(kv_residual_bytes(model, decisions), granule);
  if (decisions.kv_placement != KvPlacement::kDevice) {
    const Bytes staging = kv_staging_bytes(model, decisions);
    return sum + round_up(kv_growing_bytes(model, decisions) - staging, granule) +
           round_up(staging, granule);
  }
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions)) {
    const Tokens tokens = decisions.block * kept_blocks(group.keep, decisions);
    sum += round_up(group.per_token * tokens, granule);
  }
  return sum;
}

Bytes window_saving(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_policy != KvPolicy::kKeepAll) return {};
  Decisions windowed = decisions;
  windowed.kv_policy = KvPolicy::kWindow;
  return kv_bytes(model, decisions) - kv_bytes(model, windowed);
}

}  // namespace vramplan
