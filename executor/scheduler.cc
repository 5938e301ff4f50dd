#include "executor/scheduler.h"

#include <algorithm>
#include <utility>

namespace vramplan {
namespace {

std::vector<Scheduler::Cache> caches_of(KvStore& kv) {
  std::vector<Scheduler::Cache> caches;
  for (std::size_t g = 0; g < kv.groups().size(); ++g) {
    caches.push_back({&kv.pool(g), kv.groups()[g].keep});
  }
  return caches;
}

}  // namespace

Scheduler::Scheduler(std::vector<Cache> caches, std::vector<std::vector<std::int32_t>> prompts,
                     SchedulerOptions options)
    : caches_(std::move(caches)), options_(std::move(options)) {
  VRAMPLAN_CHECK(options_.samples >= 1);
  VRAMPLAN_CHECK(options_.prefill_chunk > 0 && options_.output >= 1 && !caches_.empty());
  sequences_.reserve(prompts.size());
  for (std::vector<std::int32_t>& prompt : prompts) {
    VRAMPLAN_CHECK(!prompt.empty());
    prefill_pass_count_ +=
        ceil_div(static_cast<std::int64_t>(prompt.size()), options_.prefill_chunk);
    for (std::int64_t sample = 0; sample < options_.samples; ++sample) {
      Sequence sequence;
      sequence.prompt = prompt;
      // The first of them is prefilled, the others fork from it.
      if (sample > 0) sequence.cached = static_cast<std::int64_t>(prompt.size());
      for (const Cache& cache : caches_) {
        const TokensPerBlock block = cache.keep.recent ? kResidualBlock : options_.block;
        sequence.tables.emplace_back(*cache.pool, block, cache.keep.sinks);
      }
      sequences_.push_back(std::move(sequence));
    }
  }
  if (options_.prefix_cache) {
    VRAMPLAN_CHECK(caches_.size() == 1 && caches_.front().keep.all() && options_.samples == 1);
    prefixes_.emplace(*caches_.front().pool, options_.block);
  }
  if (has_residual()) {
    VRAMPLAN_CHECK(caches_.size() == 2 && options_.samples == 1 && !options_.prefix_cache);
    VRAMPLAN_CHECK(options_.prefill_chunk + kResidualBlock.n <= caches_.back().keep.window.n);
  }
  pass_.groups.resize(caches_.size());
}

Scheduler::Scheduler(KvStore& kv, std::vector<std::vector<std::int32_t>> prompts,
                     SchedulerOptions options)
    : Scheduler(caches_of(kv), std::move(prompts), std::move(options)) {}

const Pass* Scheduler::next() {
  pass_.sequences.clear();
  pass_.sampled.clear();
  pass_.ids.clear();
  pass_.positions.clear();
  pass_.logit_rows.clear();
  for (Pass::Group& group : pass_.groups) {
    group.slots.clear();
    group.slices.clear();
    group.sink_positions.clear();
    group.copies.clear();
    group.packs.clear();
  }
  bool filled = false;
  for (std::size_t i = 0; i < sequences_.size() && !filled; ++i) {
    const auto prompt_tokens = static_cast<std::int64_t>(sequences_[i].prompt.size());
    if (sequences_[i].cached >= prompt_tokens) continue;
    fill_prefill(i);
    filled = true;
  }
  if (!filled && !fill_decode()) return nullptr;
  pass_.inputs.clear();
  for (const Pass::Group& group : pass_.groups) {
    pass_.inputs.push_back({group.slots, group.slices, group.sink_positions, group.packs});
  }
  return &pass_;
}

void Scheduler::fill_prefill(std::size_t index) {
  Sequence& sequence = sequences_[index];
  if (sequence.cached == 0 && prefixes_) find_prefix(sequence);
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
  grow(sequence, wants_logits ? end + 1 : end);
  if (has_residual()) advance_window(sequence, end);
  for (std::size_t g = 0; g < caches_.size() && !has_residual(); ++g) {
    // Later blocks are new, and nobody else's.
    if (const auto copy = sequence.tables[g].own(begin)) pass_.groups[g].copies.push_back(*copy);
  }
  place(sequence, begin, end);
  const auto first_row = static_cast<std::int64_t>(pass_.ids.size());
  for (std::int64_t position = begin; position < end; ++position) {
    pass_.ids.push_back(token_at(sequence, position));
    pass_.positions.push_back(static_cast<std::int32_t>(position));
    const bool last = position + 1 == end;
    if (options_.logits_of_all || (wants_logits && last)) {
      pass_.logit_rows.push_back(static_cast<std::int32_t>(first_row + position - begin));
    }
  }
  if (wants_logits) pass_.sampled.push_back(static_cast<std::int64_t>(index));
  if (wants_logits && pass_.phase == Phase::kPrefill) {
    for (std::int64_t sample = 1; sample < options_.samples; ++sample) {
      pass_.sampled.push_back(static_cast<std::int64_t>(index) + sample);
      pass_.logit_rows.push_back(static_cast<std::int32_t>(first_row + count - 1));
    }
  }
  pass_.sequences.push_back(static_cast<std::int64_t>(index));
}

/// Slots and slice of tokens [begin, end) in every group; their rows are the next of the pass.
void Scheduler::place(const Sequence& sequence, std::int64_t begin, std::int64_t end) {
  const auto first_row = static_cast<std::int64_t>(pass_.ids.size());
  for (std::size_t g = 0; g < caches_.size(); ++g) {
    const BlockTable& table = sequence.tables[g];
    Pass::Group& group = pass_.groups[g];
    if (has_residual() && g == 0) {  // the history: of its tokens, those that this pass packs
      const std::int64_t packed = sequence.tables[1].released().n / options_.kv_stride;
      group.slices.push_back({first_row, packed - sequence.history, packed, table.blocks()});
      continue;
    }
    for (std::int64_t token = begin; token < end; ++token) group.slots.push_back(table.slot(token));
    const KvKeep& keep = caches_[g].keep;
    for (std::int64_t token = begin; token < end && keep.sinks.n > 0; ++token) {
      const std::int64_t seen = std::min(token, (keep.sinks + keep.window).n - 1);
      group.sink_positions.push_back(static_cast<std::int32_t>(seen));
    }
    group.slices.push_back({first_row, end - begin, table.index(end - 1) + 1, table.blocks()});
  }
}

/// Makes room for tokens up to `end` in the residual window: blocks that must leave it are to be
/// packed. A block that is given back here may be taken again for this pass: in every layer the
/// packing comes before the writing.
void Scheduler::advance_window(Sequence& sequence, std::int64_t end) {
  BlockTable& history = sequence.tables[0];
  BlockTable& recent = sequence.tables[1];
  const Tokens behind = recent.released();
  sequence.history = behind.n / options_.kv_stride;
  const Tokens packed = packed_tokens(Tokens{end}, caches_[1].keep.window);
  history.grow_to(Tokens{packed.n / options_.kv_stride});
  for (std::int64_t token = behind.n; token < packed.n; token += kResidualBlock.n) {
    const std::int64_t at = (token - behind.n) / kResidualBlock.n;
    VRAMPLAN_CHECK(at < static_cast<std::int64_t>(recent.block_count()));
    pass_.groups[1].packs.push_back(
        {recent.blocks()[at], history.slot(token / options_.kv_stride)});
  }
  recent.release_before(packed);
  recent.grow_to(Tokens{end});
}

void Scheduler::grow(Sequence& sequence, std::int64_t length) {
  if (has_residual()) return;
  for (BlockTable& table : sequence.tables) table.grow_to(Tokens{length});
}

/// Takes over the blocks that are known; the last token is always computed, for its logits.
void Scheduler::find_prefix(Sequence& sequence) {
  const std::span<const std::int32_t> prompt = sequence.prompt;
  const std::vector<std::int32_t> blocks =
      prefixes_->match(options_.tenant, prompt.first(prompt.size() - 1));
  sequence.tables.front().adopt(blocks);
  sequence.cached = static_cast<std::int64_t>(blocks.size()) * options_.block.n;
}

void Scheduler::remember_prefix(const Sequence& sequence) {
  const auto known =
      std::min<std::size_t>(sequence.prompt.size(), static_cast<std::size_t>(sequence.cached));
  const BlockTable& table = sequence.tables.front();
  prefixes_->insert(options_.tenant, std::span(sequence.prompt).first(known),
                    std::span(table.blocks(), table.block_count()));
}

/// The other samples of a prompt begin with all of its blocks.
void Scheduler::fork_samples(std::size_t index) {
  const Sequence& first = sequences_[index];
  for (std::int64_t sample = 1; sample < options_.samples; ++sample) {
    Sequence& other = sequences_[index + static_cast<std::size_t>(sample)];
    for (std::size_t g = 0; g < caches_.size(); ++g) other.tables[g].share(first.tables[g]);
  }
}

/// The next query is at `cached` and sees the window that ends with itself.
void Scheduler::release_unseen(Sequence& sequence) {
  for (std::size_t g = 0; g < caches_.size(); ++g) {
    const KvKeep& keep = caches_[g].keep;
    if (keep.all() || keep.recent) continue;
    sequence.tables[g].release_before(Tokens{sequence.cached + 1} - keep.window);
  }
}

void Scheduler::complete(std::span<const std::int32_t> tokens) {
  VRAMPLAN_CHECK(tokens.size() == pass_.sampled.size());
  for (std::size_t i = 0; i < pass_.sequences.size(); ++i) {
    Sequence& sequence = sequences_[static_cast<std::size_t>(pass_.sequences[i])];
    sequence.cached += pass_.groups.back().slices[i].query_count;
    release_unseen(sequence);
    if (pass_.phase == Phase::kPrefill && prefixes_) remember_prefix(sequence);
  }
  if (pass_.phase == Phase::kPrefill && !tokens.empty()) {
    fork_samples(static_cast<std::size_t>(pass_.sequences.front()));
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
  std::int64_t longest = 0;
  for (const Sequence& sequence : sequences_) {
    VRAMPLAN_CHECK(!sequence.generated.empty());
    const auto made = static_cast<std::int64_t>(sequence.generated.size());
    longest = std::max(longest, options_.output - 1 - made);
  }
  const bool windows = std::any_of(caches_.begin(), caches_.end(),
                                   [](const Cache& cache) { return !cache.keep.all(); });
  // Without windows the last step has all blocks of those before.
  for (std::int64_t step = windows ? 1 : longest; step <= longest; ++step) {
    for (Sequence& sequence : sequences_) {
      const auto made = static_cast<std::int64_t>(sequence.generated.size());
      const std::int64_t to = std::min(options_.output - 1, windows ? made + 1 : made + step);
      if (to <= made) continue;
      sequence.cached += to - made;
      sequence.generated.resize(static_cast<std::size_t>(to), 0);
      grow(sequence, sequence.cached + 1);
      if (has_residual()) advance_window(sequence, sequence.cached);
    }
    for (Sequence& sequence : sequences_) release_unseen(sequence);
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
