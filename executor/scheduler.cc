#include "executor/scheduler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace vramplan {
namespace {

std::vector<Scheduler::Cache> caches_of(KvStore& kv) {
  std::vector<Scheduler::Cache> caches;
  for (std::size_t g = 0; g < kv.groups().size(); ++g) {
    caches.push_back({&kv.pool(g), kv.groups()[g].keep, kv.swap_pool()});
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
      sequence.prefill_to = static_cast<std::int64_t>(prompt.size());
      sequence.running = options_.preempt == Preempt::kNone;
      // The first of them is prefilled, the others fork from it.
      if (sample > 0) sequence.cached = static_cast<std::int64_t>(prompt.size());
      for (const Cache& cache : caches_) {
        const TokensPerBlock block = cache.keep.recent ? kResidualBlock : options_.block;
        sequence.tables.emplace_back(*cache.pool, block, cache.keep.sinks);
      }
      sequence.heat.resize(caches_.size());
      sequence.mass.resize(caches_.size());
      sequences_.push_back(std::move(sequence));
    }
  }
  if (options_.prefix_cache) {
    VRAMPLAN_CHECK(caches_.size() == 1 && caches_.front().keep.all() && options_.samples == 1);
    prefixes_.emplace(*caches_.front().pool, options_.block);
  }
  if (has_residual()) {
    VRAMPLAN_CHECK(caches_.size() >= 2 && caches_.size() <= 3 && options_.samples == 1 &&
                   !options_.prefix_cache);
    VRAMPLAN_CHECK(options_.prefill_chunk + kResidualBlock.n <= caches_.back().keep.window.n);
  }
  if (options_.preempt != Preempt::kNone) {
    VRAMPLAN_CHECK(caches_.size() == 1 && caches_.front().keep.all() && options_.samples == 1);
    VRAMPLAN_CHECK(options_.preempt != Preempt::kSwap || caches_.front().host != nullptr);
  }
  pass_.groups.resize(caches_.size());
  copies_.resize(caches_.size());
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
  for (std::size_t g = 0; g < caches_.size(); ++g) {
    Pass::Group& group = pass_.groups[g];
    group.slots.clear();
    group.slices.clear();
    group.sink_positions.clear();
    group.copies = std::exchange(copies_[g], {});
    group.packs.clear();
    group.swap_out.clear();
    group.swap_in.clear();
  }
  if (options_.preempt != Preempt::kNone) admit();
  bool filled = false;
  for (std::size_t i = 0; i < sequences_.size() && !filled; ++i) {
    if (!sequences_[i].running || sequences_[i].cached >= sequences_[i].prefill_to) continue;
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
  const std::int64_t left = sequence.prefill_to - sequence.cached;
  // What is computed again comes in chunks no longer than those of the prompt.
  const auto prompt = static_cast<std::int64_t>(sequence.prompt.size());
  const std::int64_t count = std::min({left, options_.prefill_chunk, prompt});
  pass_.phase = Phase::kPrefill;
  pass_.step_queries = 0;
  pass_.number = ++prefill_number_;
  append(index, count, count == left);
}

bool Scheduler::fill_decode() {
  pass_.phase = Phase::kDecode;
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].running && !sequences_[i].finished) make_room(sequences_[i]);
    if (sequences_[i].running && !sequences_[i].finished) append(i, unseen(sequences_[i]), true);
  }
  if (pass_.ids.empty()) return false;
  pass_.step_queries = options_.step_queries;
  for (const SequenceSlice& slice : pass_.groups.back().slices) {
    if (options_.whole) pass_.step_queries = std::max(pass_.step_queries, slice.query_count);
  }
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
  for (std::size_t g = 0; g < whole_caches(); ++g) {
    // Later blocks are new, and nobody else's.
    if (const auto copy = sequence.tables[g].own(begin)) pass_.groups[g].copies.push_back(*copy);
  }
  place(sequence, begin, end);
  const auto first_row = static_cast<std::int64_t>(pass_.ids.size());
  for (std::int64_t position = begin; position < end; ++position) {
    pass_.ids.push_back(token_at(sequence, position));
    pass_.positions.push_back(static_cast<std::int32_t>(position));
    const bool last = position + 1 == end;
    const bool asked = position + 1 >= end - static_cast<std::int64_t>(sequence.guesses.size());
    if (options_.logits_of_all || (wants_logits && (last || asked))) {
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
void Scheduler::place(Sequence& sequence, std::int64_t begin, std::int64_t end) {
  const auto first_row = static_cast<std::int64_t>(pass_.ids.size());
  for (std::size_t g = 0; g < caches_.size(); ++g) {
    const BlockTable& table = sequence.tables[g];
    Pass::Group& group = pass_.groups[g];
    if (has_residual() && g == whole_caches()) {  // of a history, the tokens this pass packs
      const std::int64_t packed = sequence.tables.back().released().n / options_.kv_stride;
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
    if (keep.budget.n == 0) continue;
    sequence.mass[g].assign(table.block_count(), 0);
    group.slices.back().block_mass = sequence.mass[g].data();
  }
}

/// Makes room for tokens up to `end` in the residual window: blocks that must leave it are to be
/// packed. A block that is given back here may be taken again for this pass: in every layer the
/// packing comes before the writing.
void Scheduler::advance_window(Sequence& sequence, std::int64_t end) {
  BlockTable& history = sequence.tables[whole_caches()];
  BlockTable& recent = sequence.tables.back();
  const Tokens behind = recent.released();
  sequence.history = behind.n / options_.kv_stride;
  const Tokens packed = packed_tokens(Tokens{end}, caches_.back().keep.window);
  history.grow_to(Tokens{packed.n / options_.kv_stride});
  for (std::int64_t token = behind.n; token < packed.n; token += kResidualBlock.n) {
    const std::int64_t at = (token - behind.n) / kResidualBlock.n;
    VRAMPLAN_CHECK(at < static_cast<std::int64_t>(recent.block_count()));
    pass_.groups.back().packs.push_back(
        {recent.blocks()[at], history.slot(token / options_.kv_stride)});
  }
  recent.release_before(packed);
  recent.grow_to(Tokens{end});
}

void Scheduler::grow(Sequence& sequence, std::int64_t length) {
  if (options_.whole) {
    length = static_cast<std::int64_t>(sequence.prompt.size()) + options_.output;
  }
  for (std::size_t g = 0; g < whole_caches(); ++g) sequence.tables[g].grow_to(Tokens{length});
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
    if (keep.budget.n > 0) release_lightest(sequence, g);
    if (keep.all() || keep.recent || keep.budget.n > 0) continue;
    sequence.tables[g].release_before(Tokens{sequence.cached + 1} - keep.window);
  }
}

/// Its own blocks stay its own and get what the parent's hold: how many there are does not depend
/// on what the beams turn out to be, and the copies are a small part of a step that reads all
/// weights.
void Scheduler::take_over(Sequence& sequence, const Sequence& parent) {
  sequence.generated = parent.generated;
  for (std::size_t g = 0; g < caches_.size(); ++g) {
    const BlockTable &to = sequence.tables[g], &from = parent.tables[g];
    const std::int64_t used = blocks_for(Tokens{sequence.cached}, options_.block).n;
    for (std::int64_t i = 0; i < used; ++i) {
      if (to.blocks()[i] == from.blocks()[i]) continue;
      VRAMPLAN_CHECK(caches_[g].pool->holders(to.blocks()[i]) == 1);
      copies_[g].push_back({from.blocks()[i], to.blocks()[i]});
    }
  }
}

void Scheduler::finish(std::int64_t sequence) {
  sequences_[static_cast<std::size_t>(sequence)].finished = true;
}

void Scheduler::complete(std::span<const std::int32_t> tokens,
                         std::span<const std::int64_t> parents) {
  VRAMPLAN_CHECK(tokens.size() == pass_.sampled.size());
  VRAMPLAN_CHECK(parents.empty() || parents.size() == tokens.size());
  for (std::size_t i = 0; i < pass_.sequences.size(); ++i) {
    Sequence& sequence = sequences_[static_cast<std::size_t>(pass_.sequences[i])];
    sequence.cached += pass_.groups.back().slices[i].query_count;
    release_unseen(sequence);
    if (pass_.phase == Phase::kPrefill && prefixes_) remember_prefix(sequence);
  }
  if (pass_.phase == Phase::kPrefill && !tokens.empty()) {
    fork_samples(static_cast<std::size_t>(pass_.sequences.front()));
  }
  for (std::size_t i = 0; i < parents.size(); ++i) {
    const std::int64_t own = pass_.sampled[i];
    if (parents[i] == own) continue;
    VRAMPLAN_CHECK(parents[i] / options_.samples == own / options_.samples);
    take_over(sequences_[static_cast<std::size_t>(own)],
              sequences_[static_cast<std::size_t>(parents[i])]);
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Sequence& sequence = sequences_[static_cast<std::size_t>(pass_.sampled[i])];
    sequence.generated.push_back(tokens[i]);
    end_if_done(sequence);
    if (!sequence.finished || options_.preempt == Preempt::kNone) continue;
    sequence.running = false;  // others wait for its blocks
    for (BlockTable& table : sequence.tables) table.clear();
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
      for (std::vector<std::int64_t>& mass : sequence.mass) mass.clear();
      if (has_residual()) advance_window(sequence, sequence.cached);
    }
    for (Sequence& sequence : sequences_) release_unseen(sequence);
  }
}

double Scheduler::Heat::score(KvScore kind) const {
  return kind == KvScore::kSum ? sum : mean * std::log(1 + static_cast<double>(hot));
}

/// Gives back blocks until the budget holds: of those behind the first tokens and before the
/// newest, the one with the lowest score, the older of equals. Its tokens' keys keep their
/// rotation.
void Scheduler::release_lightest(Sequence& sequence, std::size_t cache) {
  constexpr double kForget = 0.8;
  BlockTable& table = sequence.tables[cache];
  std::vector<Heat>& heat = sequence.heat[cache];
  const std::vector<std::int64_t>& mass = sequence.mass[cache];
  const std::int64_t total = std::accumulate(mass.begin(), mass.end(), std::int64_t{0});
  heat.resize(table.block_count());
  for (std::size_t i = 0; i < mass.size(); ++i) {
    const double share = total > 0 ? static_cast<double>(mass[i]) / static_cast<double>(total) : 0;
    heat[i].sum += static_cast<double>(mass[i]);
    heat[i].mean = kForget * heat[i].mean + (1 - kForget) * share;
    if (share * static_cast<double>(mass.size()) > 1) ++heat[i].hot;
  }
  const TokensPerBlock block = options_.block;
  const std::int64_t budget = blocks_for(caches_[cache].keep.budget, block).n;
  const std::int64_t first = blocks_for(kMassFirst, block).n;
  const std::int64_t last = blocks_for(kMassLast, block).n + 1;  // the newest is part empty
  std::int64_t filled = blocks_for(Tokens{sequence.cached}, block).n - table.released().n / block.n;
  for (; filled > budget; --filled) {
    const auto begin = heat.begin() + std::min(first, filled - 2);
    const auto end = heat.begin() + std::max(std::min(first, filled - 2) + 1, filled - last);
    const auto lightest = std::min_element(begin, end, [&](const Heat& a, const Heat& b) {
      return a.score(options_.score) < b.score(options_.score);
    });
    table.release_at(static_cast<std::size_t>(lightest - heat.begin()));
    heat.erase(lightest);
  }
}

void Scheduler::end_if_done(Sequence& sequence) {
  const auto& ends = options_.end_tokens;
  const std::int32_t last = sequence.generated.back();
  const bool ended = std::find(ends.begin(), ends.end(), last) != ends.end();
  const bool full = static_cast<std::int64_t>(sequence.generated.size()) >= options_.output;
  if (ended || full) sequence.finished = true;
}

std::int32_t Scheduler::token_at(const Sequence& sequence, std::int64_t position) const {
  auto at = static_cast<std::size_t>(position);
  if (at < sequence.prompt.size()) return sequence.prompt[at];
  at -= sequence.prompt.size();
  if (at < sequence.generated.size()) return sequence.generated[at];
  return sequence.guesses[at - sequence.generated.size()];
}

const std::vector<std::int32_t>& Scheduler::generated(std::int64_t sequence) const {
  return sequences_[static_cast<std::size_t>(sequence)].generated;
}

}  // namespace vramplan
