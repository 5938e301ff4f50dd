#include "executor/scheduler.h"

#include <algorithm>
#include <utility>

namespace vramplan {

Scheduler::Scheduler(BlockPool& pool, std::vector<std::vector<std::int32_t>> prompts,
                     SchedulerOptions options)
    : options_(std::move(options)) {
  VRAMPLAN_CHECK(options_.prefill_chunk > 0 && options_.output >= 1);
  sequences_.reserve(prompts.size());
  for (std::vector<std::int32_t>& prompt : prompts) {
    VRAMPLAN_CHECK(!prompt.empty());
    prefill_pass_count_ +=
        ceil_div(static_cast<std::int64_t>(prompt.size()), options_.prefill_chunk);
    sequences_.push_back({std::move(prompt), {}, BlockTable(pool, options_.block), 0, false});
  }
}

const Pass* Scheduler::next() {
  pass_.sequences.clear();
  pass_.sampled.clear();
  pass_.ids.clear();
  pass_.positions.clear();
  pass_.logit_rows.clear();
  pass_.slots.clear();
  pass_.slices.clear();
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    const auto prompt_tokens = static_cast<std::int64_t>(sequences_[i].prompt.size());
    if (sequences_[i].cached >= prompt_tokens) continue;
    fill_prefill(i);
    return &pass_;
  }
  return fill_decode() ? &pass_ : nullptr;
}

void Scheduler::fill_prefill(std::size_t index) {
  const Sequence& sequence = sequences_[index];
  const std::int64_t left = static_cast<std::int64_t>(sequence.prompt.size()) - sequence.cached;
  const std::int64_t count = std::min(left, options_.prefill_chunk);
  pass_.phase = Phase::kPrefill;
  pass_.number = ++prefill_number_;
  append(index, count, count == left);
}

bool Scheduler::fill_decode() {
  pass_.phase = Phase::kDecode;
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    if (!sequences_[i].finished) append(i, 1, true);
  }
  if (pass_.ids.empty()) return false;
  pass_.number = ++decode_number_;
  return true;
}

/// Adds the next `count` tokens of a sequence as one slice.
void Scheduler::append(std::size_t index, std::int64_t count, bool wants_logits) {
  Sequence& sequence = sequences_[index];
  const std::int64_t begin = sequence.cached;
  const std::int64_t end = begin + count;
  sequence.table.grow_to(Tokens{wants_logits ? end + 1 : end});
  const auto first_row = static_cast<std::int64_t>(pass_.ids.size());
  for (std::int64_t position = begin; position < end; ++position) {
    pass_.ids.push_back(token_at(sequence, position));
    pass_.positions.push_back(static_cast<std::int32_t>(position));
    pass_.slots.push_back(sequence.table.slot(position));
    const bool last = position + 1 == end;
    if (options_.logits_of_all || (wants_logits && last)) {
      pass_.logit_rows.push_back(static_cast<std::int32_t>(first_row + position - begin));
    }
  }
  if (wants_logits) pass_.sampled.push_back(static_cast<std::int64_t>(index));
  pass_.sequences.push_back(static_cast<std::int64_t>(index));
  pass_.slices.push_back({first_row, count, end, sequence.table.blocks()});
}

void Scheduler::complete(std::span<const std::int32_t> tokens) {
  VRAMPLAN_CHECK(tokens.size() == pass_.sampled.size());
  for (std::size_t i = 0; i < pass_.slices.size(); ++i) {
    sequences_[static_cast<std::size_t>(pass_.sequences[i])].cached = pass_.slices[i].kv_length;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Sequence& sequence = sequences_[static_cast<std::size_t>(pass_.sampled[i])];
    sequence.generated.push_back(tokens[i]);
    const auto& ends = options_.end_tokens;
    const bool ended = std::find(ends.begin(), ends.end(), tokens[i]) != ends.end();
    const bool full = static_cast<std::int64_t>(sequence.generated.size()) >= options_.output;
    if (ended || full) sequence.finished = true;
  }
}

void Scheduler::skip_to_last_step() {
  for (Sequence& sequence : sequences_) {
    const auto made = static_cast<std::int64_t>(sequence.generated.size());
    VRAMPLAN_CHECK(made >= 1);
    const std::int64_t skipped = options_.output - 1 - made;
    if (skipped <= 0) continue;
    sequence.generated.resize(static_cast<std::size_t>(options_.output - 1), 0);
    sequence.cached += skipped;
  }
}

std::int32_t Scheduler::token_at(const Sequence& sequence, std::int64_t position) const {
  const auto at = static_cast<std::size_t>(position);
  return at < sequence.prompt.size() ? sequence.prompt[at]
                                     : sequence.generated[at - sequence.prompt.size()];
}

const std::vector<std::int32_t>& Scheduler::generated(std::int64_t sequence) const {
  return sequences_[static_cast<std::size_t>(sequence)].generated;
}

}  // namespace vramplan
