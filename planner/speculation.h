#pragma once
// Speculation: speculative decoding in bytes and seconds: passes over guesses, the draft model
// beside the other, and what a step is expected to yield.
#include <vector>

#include "modelcards/model_source.h"
#include "planner/account.h"
#include "planner/op_work.h"

namespace vramplan {

/// Guesses of the first step, which asks about the most: `tokens`, or as many as leave one token of
/// the output for the model; 0 when there is no decode.
std::int64_t most_guesses(const Decisions& decisions);
/// Tokens a sequence takes from a step with k guesses, each kept with probability a when those
/// before it were: (1 - a^(k + 1)) / (1 - a). Source: Leviathan et al. 2023 (arXiv 2211.17192),
/// equation 1.
double expected_tokens(std::int64_t guesses, double acceptance);

/// The draft of a plan: whole, on the same device. Errors: kUsage without a draft model in the
/// source, kUnsupported when its vocabulary is another.
DraftAccount draft_account(const ModelSource& source, const Decisions& decisions);
/// Bytes of its cache, and of its activations at their peak in a phase.
Bytes draft_kv_bytes(const DraftAccount& draft, const Decisions& decisions);
Bytes draft_peak(const DraftAccount& draft, const Decisions& decisions, const ScratchRules& rules,
                 Phase phase);
/// GPU: its weights, blocks and activations as regions of the reservation.
Bytes draft_reservation(const DraftAccount& draft, const Decisions& decisions,
                        const ScratchRules& rules);
std::vector<LedgerRow> draft_rows(const DraftAccount& draft, const Decisions& decisions,
                                  const ScratchRules& rules);

/// What the draft computes for a prompt, and in a decode step over caches of `kv_length`: a pass of
/// two tokens a sequence, then one of one token for each further guess.
std::vector<OpWork> draft_prefill_work(const DraftAccount& draft, const Decisions& decisions,
                                       DeviceKind device);
std::vector<OpWork> draft_step_work(const DraftAccount& draft, const Decisions& decisions,
                                    std::int64_t kv_length, DeviceKind device);

/// Errors: kUsage for numbers out of range, kUnsupported naming what gives tokens back that a guess
/// may have to be set back to, what has several sequences in one, or what runs elsewhere.
void check_speculation(const ModelSource& source, const Decisions& decisions, DeviceKind device);

}  // namespace vramplan
