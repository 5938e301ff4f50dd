#include "planner/speculation.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/forward_work.h"
#include "planner/kv_cache.h"
#include "planner/text.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostGuesses = 64;

[[noreturn]] void refuse(const std::string& what, const std::string& help) {
  throw Error(ErrorCode::kUnsupported, "speculative decoding " + what)
      .at("", "--speculate")
      .help(help);
}

std::vector<PassShape> draft_decode_passes(const Decisions& decisions) {
  const std::int64_t guesses = most_guesses(decisions), batch = decisions.batch;
  const std::int64_t length = decisions.context.n - 1;
  const std::int64_t first = (decisions.context - decisions.output).n + 1;
  std::vector<PassShape> passes;
  if (guesses >= 1) passes.push_back({2 * batch, batch, batch, length, first});
  if (guesses >= 2) passes.push_back({batch, batch, batch, length, first});
  return passes;
}

void add_all(std::vector<OpWork>& all, const std::vector<OpWork>& works, std::int64_t times) {
  for (OpWork work : works) {
    work.calls *= times;
    work.bytes *= static_cast<double>(times);
    work.flops *= static_cast<double>(times);
    all.push_back(work);
  }
}

}  // namespace

std::int64_t most_guesses(const Decisions& decisions) {
  if (!decisions.speculation.any()) return 0;
  return std::clamp<std::int64_t>(decisions.output.n - 2, 0, decisions.speculation.tokens);
}

double expected_tokens(std::int64_t guesses, double acceptance) {
  double sum = 1, power = 1;
  for (std::int64_t i = 0; i < guesses; ++i) sum += power *= acceptance;
  return sum;
}

DraftAccount draft_account(const ModelSource& source, const Decisions& decisions) {
  VRAMPLAN_CHECK(source.draft != nullptr);
  DraftAccount account;
  account.model =
      rank_model(source.draft->card, draft_decisions(decisions), source.draft->stored, 0);
  account.weights = weight_bytes(account.model);
  account.padding = arena_padding(account.model);
  return account;
}

Bytes draft_kv_bytes(const DraftAccount& draft, const Decisions& decisions) {
  return kv_bytes(draft.model, draft_decisions(decisions));
}

Bytes draft_peak(const DraftAccount& draft, const Decisions& decisions, const ScratchRules& rules,
                 Phase phase) {
  if (phase == Phase::kPrefill) return prefill_peak(draft.model, draft_decisions(decisions), rules);
  Bytes peak;
  for (const PassShape& pass : draft_decode_passes(decisions)) {
    peak = std::max(peak, peak_bytes(draft.model, rules, pass));
  }
  return peak;
}

Bytes draft_reservation(const DraftAccount& draft, const Decisions& decisions,
                        const ScratchRules& rules) {
  const Decisions own = draft_decisions(decisions);
  std::vector<PassShape> passes = prefill_passes(own, draft.model.shape.head);
  for (const PassShape& pass : draft_decode_passes(decisions)) passes.push_back(pass);
  Bytes extent;
  for (const PassShape& pass : passes) {
    extent = std::max(extent, pass_extent(draft.model, rules, pass));
  }
  return draft.weights + draft.padding + kv_region_bytes(draft.model, own) + extent;
}

std::vector<LedgerRow> draft_rows(const DraftAccount& draft, const Decisions& decisions,
                                  const ScratchRules& rules) {
  std::vector<LedgerRow> rows;
  const auto add = [&](Category category, const char* name, Phase phase, Bytes bytes,
                       std::string formula) {
    rows.push_back({0, TierKind::kDevice, category, name, phase, bytes, std::move(formula)});
  };
  const std::string model = decisions.speculation.draft;
  add(Category::kDraft, "weights", Phase::kLoad, draft.weights,
      fmt::format("all tensors of {}", model));
  add(Category::kDraft, "blocks", Phase::kLoad, draft_kv_bytes(draft, decisions),
      fmt::format("{} B/token of {} x {} blocks of {} tokens, all taken when a sequence begins",
                  grouped(kv_growing_per_token(draft.model, draft_decisions(decisions)).n), model,
                  grouped(decisions.kv_blocks.n), decisions.block.n));
  add(Category::kDraft, "arena padding", Phase::kLoad, draft.padding,
      "each tensor of the draft rounded up to 256 B");
  add(Category::kActivations, "draft peak", Phase::kPrefill,
      draft_peak(draft, decisions, rules, Phase::kPrefill), "the draft reads a prompt");
  const Bytes decode = draft_peak(draft, decisions, rules, Phase::kDecode);
  if (decode.n > 0) {
    add(Category::kActivations, "draft peak", Phase::kDecode, decode,
        fmt::format("passes of 2 tokens, then of 1, for {} sequences", decisions.batch));
  }
  return rows;
}

std::vector<OpWork> draft_prefill_work(const DraftAccount& draft, const Decisions& decisions,
                                       DeviceKind device) {
  return prefill_work(draft.model, draft_decisions(decisions), device);
}

std::vector<OpWork> draft_step_work(const DraftAccount& draft, const Decisions& decisions,
                                    std::int64_t kv_length, DeviceKind device) {
  std::vector<OpWork> works;
  const std::int64_t guesses = most_guesses(decisions), batch = decisions.batch;
  const Decisions own = draft_decisions(decisions);
  if (guesses >= 1) {
    add_all(works, forward_work(draft.model, own, {2 * batch, batch, batch, kv_length}, device), 1);
  }
  if (guesses >= 2) {
    add_all(works, forward_work(draft.model, own, {batch, batch, batch, kv_length}, device),
            guesses - 1);
  }
  return works;
}

void check_speculation(const ModelSource& source, const Decisions& decisions, DeviceKind device) {
  const GuessDecision& s = decisions.speculation;
  if (!s.any()) return;
  if (s.tokens < 1 || s.tokens > kMostGuesses || !(s.acceptance >= 0 && s.acceptance <= 1)) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} guesses a step, {} of them kept", s.tokens, s.acceptance))
        .at("", "--speculate, --speculate-acceptance")
        .help(fmt::format("1 to {} guesses; a share of 0 to 1", kMostGuesses));
  }
  if (device == DeviceKind::kSram) refuse("on this kind of device", "cpu and gpu devices run it");
  if (decisions.sharding.ranks() > 1) refuse("over several ranks", "leave --tp and --pp out");
  if (decisions.beam_search || decisions.samples > 1) {
    refuse("of beams or samples of one prompt", "leave one of them out");
  }
  const bool windows = std::any_of(
      source.card.layers.begin(), source.card.layers.end(),
      [&](const Layer& layer) { return !keep_of(decisions, layer.mixer.window_tokens).all(); });
  if (windows || decisions.kv_residual.any() || decisions.shared_prefix.n > 0 ||
      decisions.preempt != Preempt::kNone || decisions.kv_layout != KvLayout::kPaged) {
    refuse("with a cache that gives tokens back, shares or lends them: a guess may be taken back",
           "--kv-policy keep_all, paged, without --shared-prefix and --preempt");
  }
  if (decisions.kv_placement != KvPlacement::kDevice || decisions.weight_offload.layers > 0 ||
      decisions.activation_offload || decisions.attention == AttentionAlgorithm::kNaive) {
    refuse("with anything beyond the device, or naive attention", "leave one of them out");
  }
  if (s.guess != Guess::kDraft) return;
  if (source.draft == nullptr) {
    throw Error(ErrorCode::kUsage, "a draft model is planned and none is given").at("", "--draft");
  }
  if (source.draft->card.vocab != source.card.vocab) {
    refuse(fmt::format("with a draft of {} tokens beside a model of {}", source.draft->card.vocab,
                       source.card.vocab),
           "take a smaller model of the same family");
  }
  const bool plain =
      std::all_of(source.draft->card.layers.begin(), source.draft->card.layers.end(),
                  [](const Layer& layer) { return layer.mixer.kind == MixerKind::kFullAttention; });
  if (!plain) refuse("with a draft whose layers have windows or states", "take another draft");
}

}  // namespace vramplan
