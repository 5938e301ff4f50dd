#include "planner/kv_rows.h"

#include <fmt/format.h>

#include <utility>

#include "planner/kv_cache.h"
#include "planner/kv_groups.h"
#include "planner/kv_mix.h"
#include "planner/kv_offload.h"
#include "planner/text.h"

namespace vramplan {
namespace {

LedgerRow kv_row(const char* name, Bytes bytes, std::string formula) {
  LedgerRow row;
  row.category = Category::kKvCache;
  row.name = name;
  row.bytes = bytes;
  row.formula = std::move(formula);
  return row;
}

/// Each group that keeps a window: its blocks, at most at one time, times their bytes.
std::string window_formula(const RankModel& model, const Decisions& decisions) {
  std::string text;
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions)) {
    if (group.keep.all()) continue;
    if (!text.empty()) text += " + ";
    if (group.keep.budget.n > 0) {
      text +=
          fmt::format("{} blocks of a budget of {} tokens and a chunk, x {} B",
                      grouped(kept_blocks(group.keep, decisions).n), grouped(group.keep.budget.n),
                      grouped((group.per_token * Tokens{decisions.block.n}).n));
      continue;
    }
    const std::string sinks =
        group.keep.sinks.n > 0 ? fmt::format("the first {} and ", grouped(group.keep.sinks.n)) : "";
    text +=
        fmt::format("{} blocks that hold {}the newest {} tokens of {} sequence{} x {} B",
                    grouped(kept_blocks(group.keep, decisions).n), sinks,
                    grouped(group.keep.window.n), decisions.batch, decisions.batch == 1 ? "" : "s",
                    grouped((group.per_token * Tokens{decisions.block.n}).n));
  }
  return text +
         fmt::format("; most at one time with chunks of {}", grouped(decisions.prefill_chunk.n));
}

/// Layers that stay, staging for the others, and those beyond the device.
std::vector<LedgerRow> offloaded_rows(const RankModel& model, const Decisions& decisions) {
  const KvOffloadBytes bytes = kv_offload_bytes(model, decisions);
  const std::string blocks = grouped(decisions.kv_blocks.n) + " blocks";
  const std::string far = fmt::format(
      "{} B of a block{}", grouped(bytes.far_part.n),
      decisions.kv_placement == KvPlacement::kDisk ? " with header, in units of 4,096 B" : "");
  const Bytes staging = kv_staging_bytes(model, decisions);
  std::vector<LedgerRow> rows;
  rows.push_back(kv_row(
      "blocks", kv_growing_bytes(model, decisions) - staging,
      fmt::format("{} of {} layers stay: {} x {} B x {}", bytes.layers - bytes.far_layers,
                  bytes.layers, bytes.layers - bytes.far_layers, grouped(bytes.part.n), blocks)));
  rows.push_back(kv_row("staging", staging,
                        fmt::format("{} layers at a time x {} x {}", bytes.staging, far, blocks)));
  rows.push_back(kv_row("blocks", kv_far_bytes(model, decisions),
                        fmt::format("{} layers x {} x {}", bytes.far_layers, far, blocks)));
  rows.back().tier =
      decisions.kv_placement == KvPlacement::kDisk ? TierKind::kDisk : TierKind::kHost;
  return rows;
}

std::string shared_text(const Decisions& decisions) {
  const Blocks saved = kv_blocks_unshared(decisions) - kv_blocks(decisions);
  if (decisions.samples == 1 && decisions.shared_prefix.n == 0) return "";
  return fmt::format(", less {} that {} share", grouped(saved.n),
                     decisions.beam_search   ? "beams"
                     : decisions.samples > 1 ? "samples"
                                             : "prompts");
}

std::string history_text(const Decisions& decisions) {
  const std::int64_t stride = decisions.kv_residual.stride;
  return fmt::format(", {}of the {} tokens before the residual window",
                     stride > 1 ? fmt::format("one in {} ", stride) : "",
                     grouped((history_tokens(decisions).n) * stride));
}

void add_residual_row(const RankModel& model, const Decisions& decisions,
                      std::vector<LedgerRow>& rows) {
  const Bytes residual = kv_residual_bytes(model, decisions);
  if (residual.n == 0) return;
  rows.push_back(kv_row(
      "residual window", residual,
      fmt::format("{} blocks of {} tokens ({} sequence{}, the newest {} tokens of each) x {} "
                  "B/token in f16",
                  grouped(residual_blocks(decisions).n), kResidualBlock.n, decisions.batch,
                  decisions.batch == 1 ? "" : "s", grouped(decisions.kv_residual.tokens.n),
                  grouped(kv_residual_per_token(model, decisions).n))));
}

/// "x 16 tokens a block x 512 blocks (1 sequence x ceil(8,192 / 16))", of layers that keep every
/// token or, `history`, leave the newest to a residual window.
std::string blocks_text(const Decisions& decisions, bool history, Blocks blocks) {
  const std::string count =
      fmt::format("x {} tokens a block x {} blocks", decisions.block.n, grouped(blocks.n));
  if (decisions.preempt != Preempt::kNone) {
    return count + fmt::format(" of the {} that all sequences would take, preempted by {}",
                               grouped(kv_blocks_unshared(decisions).n),
                               name_of(decisions.preempt));
  }
  const Tokens kept = history ? history_tokens(decisions) : decisions.context;
  return count + fmt::format(" ({} sequence{} x ceil({} / {}){})", decisions.batch,
                             decisions.batch == 1 ? "" : "s", grouped(kept.n), decisions.block.n,
                             history ? history_text(decisions) : shared_text(decisions));
}

/// One row for all layers.
void add_block_rows(const RankModel& model, const Decisions& decisions,
                    std::vector<LedgerRow>& rows) {
  rows.push_back(kv_row(
      "blocks", kv_growing_bytes(model, decisions),
      fmt::format("{}; {}", kv_formula(model, decisions),
                  blocks_text(decisions, decisions.kv_residual.any(), kv_blocks(decisions)))));
  const Bytes window = kv_window_bytes(model, decisions);
  if (window.n > 0)
    rows.push_back(kv_row("window blocks", window, window_formula(model, decisions)));
}

/// A row a format, so that it can be seen what which layers cost.
void add_format_rows(const RankModel& model, const Decisions& decisions,
                     std::vector<LedgerRow>& rows) {
  const std::vector<KvGroupBytes> groups = kv_group_bytes(model, decisions);
  for (const bool whole : {true, false}) {
    for (const KvFormat format : kv_formats(decisions)) {
      const std::string name =
          fmt::format("{} {}", whole ? "blocks" : "window blocks", name_of(format));
      Bytes bytes;
      std::string text;
      for (const KvGroupBytes& group : groups) {
        for (const KvFormatBytes& part : group.formats) {
          if (group.keep.all() != whole || part.format != format) continue;
          const Blocks blocks = kept_blocks(group.keep, decisions);
          bytes += part.per_token * (decisions.block * blocks);
          text +=
              fmt::format("{}{} layers in {} = {} B/token; {}", text.empty() ? "" : " + ",
                          part.layers, name_of(format), grouped(part.per_token.n),
                          whole ? blocks_text(decisions, group.keep.history, blocks)
                                : fmt::format("x {} tokens a block x {} blocks at most at one time",
                                              decisions.block.n, grouped(blocks.n)));
        }
      }
      if (bytes.n > 0) rows.push_back(kv_row(name.c_str(), bytes, std::move(text)));
    }
  }
}

/// The pool on the host for sequences that wait.
void add_swapped_row(const RankModel& model, const Decisions& decisions,
                     std::vector<LedgerRow>& rows) {
  if (decisions.swap_blocks.n == 0) return;
  const Bytes block = kv_growing_per_token(model, decisions) * Tokens{decisions.block.n};
  rows.push_back(kv_row("swapped blocks", block * decisions.swap_blocks.n,
                        fmt::format("{} blocks at most of sequences that wait x {} B",
                                    grouped(decisions.swap_blocks.n), grouped(block.n))));
  rows.back().tier = TierKind::kHost;
}

}  // namespace

/// Blocks always; the other parts of a cache only where a model or a choice has them.
std::vector<LedgerRow> kv_rows(const RankModel& model, const Decisions& decisions) {
  std::vector<LedgerRow> rows;
  if (decisions.kv_placement != KvPlacement::kDevice) {
    rows = offloaded_rows(model, decisions);
    add_residual_row(model, decisions, rows);
    return rows;
  }
  if (names_formats(decisions))
    add_format_rows(model, decisions, rows);
  else
    add_block_rows(model, decisions, rows);
  if (decisions.preempt != Preempt::kNone) {
    add_swapped_row(model, decisions, rows);
    return rows;
  }
  const Bytes state = kv_state_bytes(model, decisions);
  if (state.n > 0) {
    rows.push_back(kv_row("state", state,
                          fmt::format("{} sequence{} x recurrent state and convolution inputs of "
                                      "the linear layers, whatever the context",
                                      decisions.batch, decisions.batch == 1 ? "" : "s")));
  }
  add_residual_row(model, decisions, rows);
  return rows;
}

std::string kv_formula(const RankModel& model, const Decisions& decisions) {
  std::string text;
  for (const LayerKind& kind : model.kinds) {
    const KvEncoding encoding = kind.encoding(decisions);
    const std::string format = name_of(encoding);
    const bool plain = encoding.format <= KvFormat::kBF16;
    const std::int64_t element = info(dtype_of(encoding.format)).block_bytes;
    const Mixer& mixer = kind.layer.mixer;
    const std::int64_t bytes = kv_bytes_per_token(kind.shape, encoding).n;
    const bool apart = !keep_of(decisions, mixer.window_tokens).all();
    if (bytes == 0 || apart) continue;
    if (!text.empty()) text += " + ";
    if (kind.shape.latent > 0 || kind.shape.index > 0 || !plain) {
      text += fmt::format("{} layers x {} B of {}", kind.count, grouped(bytes),
                          kind.shape.latent > 0
                              ? fmt::format("{} latent elements in {}", kind.shape.latent, format)
                              : fmt::format("K and V in {}", format));
    } else if (mixer.head_dim == mixer.value_dim) {
      text += fmt::format("2 x {} layers x {} kv heads x {} x {} B", kind.count,
                          kind.shape.kv_heads, mixer.head_dim, element);
    } else {
      text += fmt::format("{} layers x {} kv heads x ({} + {}) x {} B", kind.count,
                          kind.shape.kv_heads, mixer.head_dim, mixer.value_dim, element);
    }
  }
  if (model.mtp_layers > 0) text += fmt::format(" + {} mtp layers", model.mtp_layers);
  if (text.empty()) text = "no layer keeps a cache that grows";
  return fmt::format("{} = {} B/token", text, grouped(kv_growing_per_token(model, decisions).n));
}

}  // namespace vramplan
