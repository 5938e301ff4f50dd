#include "executor/support.h"

#include <algorithm>

#include "executor/guesser.h"
#include "executor/support_formats.h"

#include "planner/kv_mix.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& field,
                         const std::string& help) {
  throw Error(ErrorCode::kUnsupported, what).at("", field).help(help);
}

const char* kind_text(MixerKind kind) {
  switch (kind) {
    case MixerKind::kFullAttention:
    case MixerKind::kSlidingWindow:
      return nullptr;
    case MixerKind::kChunked:
      return "chunked attention";
    case MixerKind::kMla:
      return "multi-head latent attention (MLA)";
    case MixerKind::kLinear:
      return "a linear or state-space mixer";
    case MixerKind::kNone:
      return "no mixer";
  }
  return "an unknown mixer";
}

const char* kind_text(FeedForwardKind kind) {
  switch (kind) {
    case FeedForwardKind::kDense:
      return nullptr;
    case FeedForwardKind::kMoe:
      return "a mixture of experts";
    case FeedForwardKind::kNone:
      return "no feed-forward";
  }
  return "an unknown feed-forward";
}

void check_layers(const ModelCard& card) {
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    const Layer& layer = card.layers[static_cast<std::size_t>(i)];
    const std::string field = "layers[" + std::to_string(i) + "]";
    const char* kind = kind_text(layer.mixer.kind);
    if (kind == nullptr) kind = kind_text(layer.feed_forward.kind);
    if (kind != nullptr) {
      refuse("layer " + std::to_string(i) + " of " + card.name + " has " + kind +
                 ", which this executor cannot run",
             field, "plan it without running it");
    }
    if (layer.parallel && !layer.pre_norms) {
      refuse("layer " + std::to_string(i) + " runs both halves at once without a norm before them",
             field, "plan it without running it");
    }
  }
}

/// What a card can say and this transformer does not compute, by name.
void check_parts(const ModelCard& card) {
  const std::vector<std::string> parts = special_parts(card);
  if (parts.empty()) return;
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ", ") + part;
  refuse(card.name + " has " + all + ", which this executor cannot run", "model",
         "plan it without running it");
}

bool keeps_cache_in(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
    case KvFormat::kF16:
    case KvFormat::kBF16:
    case KvFormat::kFp8:
    case KvFormat::kInt8:
    case KvFormat::kQ8_0:
    case KvFormat::kQ4_0:
    case KvFormat::kKivi2:
    case KvFormat::kKivi4:
      return true;
    default:
      return false;
  }
}

/// Formats and policies of the cache that only the planner accounts for.
void check_cache(const ModelCard& card, const Decisions& decisions) {
  check_kv_layers(card, decisions);
  for (const KvFormat format : kv_formats(decisions)) {
    if (keeps_cache_in(format)) continue;
    refuse(std::string("a KV cache in ") + name_of(format), "--kv-cache-dtype",
           "f32, f16, bf16, fp8, int8, q8_0, q4_0, kivi2 and kivi4 run");
  }
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    const KvFormat format = kv_encoding(decisions, i).format;
    const Mixer& mixer = card.layers[static_cast<std::size_t>(i)].mixer;
    for (const std::int64_t width : {mixer.head_dim, mixer.value_dim}) {
      if (width % info(dtype_of(format)).block_elements == 0) continue;
      refuse(std::string("a KV cache in ") + name_of(format) + " with heads of " +
                 std::to_string(width) + " elements",
             "--kv-cache-dtype", "its blocks hold 32 elements of a head; int8 and fp8 run");
    }
  }
  if (decisions.kv_placement != KvPlacement::kDevice && decisions.kv_offload.staging < 1) {
    refuse("a cache beyond the device without room for the layer that computes", "kv_offload",
           "plan again");
  }
  if (decisions.weight_offload.layers > 0 && decisions.weight_offload.staging < 1) {
    refuse("streamed layers without room for the one that computes", "weight_offload",
           "plan again");
  }
}

/// A budget in every layer, of tokens whose keys keep their positions.
void check_mass(const ModelCard& card, const Decisions& decisions) {
  if (decisions.kv_policy != KvPolicy::kMass) return;
  if (decisions.kv_keep.budget.n < 1) {
    throw Error(ErrorCode::kUsage, "the KV policy mass needs a budget").at("", "kv_keep");
  }
  const bool full = std::all_of(card.layers.begin(), card.layers.end(), [](const Layer& layer) {
    return layer.mixer.kind == MixerKind::kFullAttention;
  });
  if (!full || (card.context_limit > 0 && decisions.context.n > card.context_limit)) {
    refuse(std::string("the KV policy mass with ") +
               (full ? "a context beyond the model's" : "layers that have windows of their own"),
           "--kv-policy", "keep_all or window");
  }
}

/// Sinks and a window in every layer: what the transformer and the plan both take for granted.
void check_sinks(const ModelCard& card, const Decisions& decisions) {
  if (decisions.kv_policy != KvPolicy::kSinkWindow) return;
  if (decisions.kv_keep.window.n < 1 || decisions.kv_keep.sinks.n < 0) {
    throw Error(ErrorCode::kUsage, "the KV policy sink_window needs a window").at("", "kv_keep");
  }
  const bool windowed = std::any_of(card.layers.begin(), card.layers.end(), [](const Layer& l) {
    return l.mixer.kind == MixerKind::kSlidingWindow;
  });
  if (windowed || card.position == PositionKind::kLearned) {
    refuse(std::string("the KV policy sink_window with ") +
               (windowed ? "layers that have windows of their own" : "learned positions"),
           "--kv-policy", "keep_all or window");
  }
}

/// One group of plain blocks, and no one else's.
void check_preemption(const Decisions& decisions) {
  if (decisions.preempt == Preempt::kNone) return;
  if (decisions.samples > 1 || decisions.shared_prefix.n > 0 ||
      decisions.kv_policy != KvPolicy::kKeepAll || decisions.kv_layout != KvLayout::kPaged ||
      decisions.kv_placement != KvPlacement::kDevice) {
    refuse("preemption with this KV policy, layout or placement, or with shared blocks",
           "--preempt", "keep_all, paged and on the device");
  }
  if (decisions.kv_blocks < blocks_for(decisions.context, decisions.block)) {
    throw Error(ErrorCode::kUsage, "a pool of " + std::to_string(decisions.kv_blocks.n) +
                                       " blocks has no room for one sequence")
        .at("", "kv_blocks");
  }
}

/// A layer sees every chunk of a prompt before the next one sees any: nothing may leave the cache
/// between two chunks.
void check_by_layer(const ModelCard& card, const Decisions& decisions) {
  if (!decisions.activation_offload) return;
  const bool keeps_all = std::all_of(card.layers.begin(), card.layers.end(), [&](const Layer& l) {
    return keep_of(decisions, l.mixer.window_tokens).all();
  });
  const bool simple =
      decisions.kv_policy == KvPolicy::kKeepAll || decisions.kv_policy == KvPolicy::kWindow;
  if (keeps_all && simple && decisions.kv_residual.tokens.n == 0 &&
      decisions.preempt == Preempt::kNone && decisions.kv_placement == KvPlacement::kDevice) {
    return;
  }
  refuse(
      "prefill layer by layer with a cache that keeps a part, lives beyond the device or may be "
      "preempted",
      "--activation-offload", "--kv-policy keep_all --kv-placement device");
}

/// Blocks are shared in one group that keeps every token.
void check_sharing(const Decisions& decisions) {
  if (decisions.batch % decisions.samples != 0) {
    throw Error(ErrorCode::kUsage, "a batch of " + std::to_string(decisions.batch) +
                                       " is no multiple of " + std::to_string(decisions.samples) +
                                       " samples")
        .at("", "--samples");
  }
  const bool shared = decisions.samples > 1 || decisions.shared_prefix.n > 0;
  if (!shared) return;
  if (decisions.kv_policy != KvPolicy::kKeepAll || decisions.kv_layout != KvLayout::kPaged ||
      (decisions.samples > 1 && decisions.shared_prefix.n > 0)) {
    refuse("shared blocks with this KV policy, layout or both kinds of sharing", "--samples",
           "keep_all and paged");
  }
}

/// What the scheduler and the kernels take for granted of a residual window.
void check_residual(const ModelCard& card, const Decisions& decisions) {
  const KvResidual& residual = decisions.kv_residual;
  const bool strided = decisions.kv_policy == KvPolicy::kStrided;
  const std::optional<KvFormat> packed = packed_format(decisions);
  const char* const field = strided ? "--kv-policy" : "--kv-cache-dtype";
  const std::string name =
      strided ? "the KV policy strided"
              : std::string("a KV cache in ") + name_of(packed.value_or(decisions.kv_format));
  if (residual.any() != (strided || packed)) {
    refuse(name + (residual.any() ? " with" : " without") + " a residual window", "kv_residual",
           "plan again");
  }
  if (!residual.any()) return;
  const std::int64_t block = kResidualBlock.n;
  const std::int64_t stride = residual.stride;
  const bool shape = residual.tokens.n % block == 0 && stride >= 1 && block % stride == 0 &&
                     decisions.prefill_chunk.n + block <= residual.tokens.n &&
                     decisions.block.n % (block / stride) == 0 && (stride == 1 || !packed);
  if (!shape) {
    refuse(name + " with a residual window, stride, block or prefill chunk that do not go together",
           "kv_residual", "plan again");
  }
  const bool windowed = std::any_of(card.layers.begin(), card.layers.end(), [](const Layer& l) {
    return l.mixer.kind == MixerKind::kSlidingWindow;
  });
  const bool alone = decisions.kv_policy == KvPolicy::kKeepAll || strided;
  if (windowed || !alone || decisions.kv_layout != KvLayout::kPaged || decisions.samples > 1 ||
      decisions.shared_prefix.n > 0 || decisions.attention == AttentionAlgorithm::kNaive) {
    refuse(name + " with windows, sinks, shared blocks, a contiguous layout or naive attention",
           field, "keep_all, paged and tiled run with it");
  }
}

/// The kernels of a GPU read all heads of a history in one format.
void check_gpu_full_heads(const ModelCard& card, const Decisions& decisions) {
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    if (!kv_encoding(decisions, i).full_heads.any()) continue;
    refuse("heads in f16 beside packed ones on a GPU", "--kv-full-heads",
           "they run on a CPU; on a GPU give whole layers another format with --kv-layers");
  }
}

/// The attention kernels of a GPU load eight elements at a time.
void check_gpu_heads(const ModelCard& card) {
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    const Mixer& mixer = card.layers[static_cast<std::size_t>(i)].mixer;
    if (mixer.head_dim % 8 == 0 && mixer.value_dim % 8 == 0 && mixer.value_dim <= 256) continue;
    refuse("head dimensions " + std::to_string(mixer.head_dim) + " and " +
               std::to_string(mixer.value_dim) + " on a GPU",
           "layers[" + std::to_string(i) + "]", "multiples of 8 up to 256 run");
  }
}

}  // namespace

void refuse_unsupported(const ModelSource& source, const Decisions& decisions, bool computes,
                        bool random_weights, bool gpu) {
  check_layers(source.card);
  check_parts(source.card);
  check_cache(source.card, decisions);
  check_packed(source, decisions, computes, gpu);
  check_mass(source.card, decisions);
  check_sinks(source.card, decisions);
  check_by_layer(source.card, decisions);
  check_residual(source.card, decisions);
  const auto positive = [](std::int64_t value, const char* field) {
    if (value >= 1) return;
    throw Error(ErrorCode::kUsage, std::string(field) + " must be at least 1").at("", field);
  };
  positive(decisions.output.n, "output");
  positive((decisions.context - decisions.output).n, "context - output");
  positive(decisions.prefill_chunk.n, "prefill_chunk");
  positive(decisions.batch, "batch");
  positive(decisions.block.n, "block");
  positive(decisions.samples, "samples");
  check_sharing(decisions);
  check_preemption(decisions);
  check_replicas(decisions, true);
  refuse_guesses(source, decisions);
  if (source.draft != nullptr) {
    check_layers(source.draft->card);
    check_parts(source.draft->card);
  }
  positive(decisions.threads, "threads");
  if (decisions.context.n > std::int64_t{1} << 30) {
    refuse("a context of " + std::to_string(decisions.context.n) + " tokens", "context",
           "positions have 30 bits here");
  }
  if (source.card.learned_positions > 0 && decisions.context.n > source.card.learned_positions) {
    throw Error(ErrorCode::kUsage, "the context of " + std::to_string(decisions.context.n) +
                                       " tokens is longer than the position table of " +
                                       std::to_string(source.card.learned_positions))
        .at("", "--context");
  }
  if (!computes) return;
  if (decisions.sharding.ranks() != 1) {
    refuse(std::to_string(decisions.sharding.ranks()) + " ranks on a backend that computes",
           "--tp, --pp", "run several ranks with --backend dry");
  }
  check_formats(source, decisions, gpu);
  if (source.draft != nullptr) check_formats(*source.draft, draft_decisions(decisions), gpu);
  if (gpu) check_gpu_heads(source.card);
  if (gpu) check_gpu_full_heads(source.card, decisions);
  if (gpu && source.draft != nullptr) check_gpu_heads(source.draft->card);
  if (source.gguf == nullptr && !random_weights) {
    throw Error(ErrorCode::kUsage, source.card.name + " is a card without weights")
        .at("", "MODEL")
        .help("give a GGUF file, or ask for random weights");
  }
}

}  // namespace vramplan
