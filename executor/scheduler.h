#pragma once
// Scheduler: which tokens of which sequences make up the next forward pass. Static batching: every
// sequence is prefilled on its own in chunks, then all decode together until each has its tokens.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "executor/block_table.h"
#include "executor/kv_store.h"
#include "executor/prefix_tree.h"
#include "executor/transformer.h"
#include "planner/ledger.h"

namespace vramplan {

/// One forward pass, owning what PassInput points to.
struct Pass {
  /// Of one group of layers.
  struct Group {
    std::vector<std::int64_t> slots;
    std::vector<SequenceSlice> slices;
    std::vector<std::int32_t> sink_positions;  // of a group with sinks
    // To be made before the pass, in this order: back from the host, to it, and on the device.
    std::vector<BlockCopy> swap_out, swap_in, copies;
    std::vector<KvPack> packs;  // of a residual window
  };
  Phase phase = Phase::kPrefill;
  std::int64_t number = 0;  // chunk or step within its phase, from 1
  /// Of a step that guesses are made or asked about in: the most rows of a sequence; else 0.
  std::int64_t step_queries = 0;
  std::vector<std::int64_t> sequences;  // one a slice
  std::vector<std::int64_t> sampled;    // the sequence of each logits row
  std::vector<std::int32_t> ids, positions, logit_rows;
  std::vector<Group> groups;
  std::vector<GroupInput> inputs;  // views of `groups`

  PassInput input() const { return {ids, positions, inputs, logit_rows, phase == Phase::kDecode}; }
};

struct SchedulerOptions {
  TokensPerBlock block;
  std::int64_t prefill_chunk = 0;        // most tokens of a prefill pass
  std::int64_t output = 0;               // tokens to generate for each sequence, >= 1
  std::vector<std::int32_t> end_tokens;  // one of these ends a sequence early
  bool logits_of_all = false;            // prefill gives the logits of every position
  std::int64_t samples = 1;              // sequences from each prompt
  /// Whole blocks of prompts are kept by their tokens and found again. Needs one group.
  bool prefix_cache = false;
  /// When blocks run out the sequence that came last gives its own away. Needs one group.
  Preempt preempt = Preempt::kNone;
  KvScore score = KvScore::kSum;  // of blocks in a group with a budget
  /// Of a draft: a sequence takes the blocks of all its tokens when it begins, and steps are alike.
  bool whole = false;
  std::int64_t step_queries = 0;  // rows of a sequence in the step that has the most guesses; or 0
  std::string tenant = {};        // whose prompts these are: blocks are never shared across tenants
  std::int64_t kv_stride = 1;     // of the history behind a residual window
};

class Scheduler {
 public:
  /// Where the layers of one group keep their tokens.
  struct Cache {
    BlockPool* pool;
    KvKeep keep;
    BlockPool* host = nullptr;  // for preemption by swap
  };
  Scheduler(std::vector<Cache> caches, std::vector<std::vector<std::int32_t>> prompts,
            SchedulerOptions options);
  Scheduler(KvStore& kv, std::vector<std::vector<std::int32_t>> prompts, SchedulerOptions options);

  /// The next pass with its blocks taken, or nothing when every sequence is done. A pass that
  /// produces a token also takes the slot that token will need. The pass is valid until the next
  /// call. Errors: kOutOfPlan from a pool.
  const Pass* next();
  /// The tokens the pass just run produced, one for each of pass.sampled. Blocks that no later
  /// query sees are given back.
  void complete(std::span<const std::int32_t> tokens) { complete(tokens, {}); }
  /// The same where sequences of one prompt take over from each other: parents[i] is the sequence
  /// whose tokens pass.sampled[i] goes on from, itself unless it drops its own. A parent keeps its
  /// place. Blocks that differ are copied before the next pass.
  void complete(std::span<const std::int32_t> tokens, std::span<const std::int64_t> parents);
  /// The sequence makes no more tokens.
  void finish(std::int64_t sequence);

  // Guesses, of sequences in groups that keep every token.

  /// The next decode pass asks about these tokens, too, behind what the sequence has: a row of
  /// logits for the last of those and for each guess.
  void guess(std::int64_t sequence, std::vector<std::int32_t> tokens);
  /// The same as complete, for a pass with guesses: made[i] are the tokens of pass.sequences[i]:
  /// guesses that were kept, and one more. What the cache holds of others is written over.
  void complete_guesses(std::span<const std::vector<std::int32_t>> made);
  /// Of a draft: the sequence has said this, whatever was guessed. Its next pass begins one token
  /// before the last, so that each is of two tokens however many guesses were kept.
  void rewrite(std::int64_t sequence, std::span<const std::int32_t> generated);
  bool is_prefilled(std::int64_t sequence) const;
  bool is_finished(std::int64_t sequence) const;
  /// Prompt and what was made since.
  std::vector<std::int32_t> tokens_of(std::int64_t sequence) const;

  /// Puts every sequence right before its last decode step, as if the steps between had run: decode
  /// needs the most memory there. For a pass that only asks for sizes. Blocks are taken and given
  /// back as those steps would.
  void skip_to_last_step();

  std::int64_t sequence_count() const { return static_cast<std::int64_t>(sequences_.size()); }
  /// Null without a prefix cache.
  const PrefixTree* prefixes() const { return prefixes_ ? &*prefixes_ : nullptr; }
  const PreemptionCounts& preemption() const { return preemption_; }
  std::int64_t prefill_pass_count() const { return prefill_pass_count_; }
  const std::vector<std::int32_t>& generated(std::int64_t sequence) const;

 private:
  /// What a block in a group with a budget has got so far.
  struct Heat {
    double sum = 0, mean = 0;
    std::int64_t hot = 0;  // passes in which it had more than its share
    double score(KvScore kind) const;
  };
  struct Sequence {
    std::vector<std::int32_t> prompt, generated, guesses;
    std::vector<BlockTable> tables;               // of each cache
    std::vector<std::vector<Heat>> heat;          // of each cache with a budget, by block
    std::vector<std::vector<std::int64_t>> mass;  // what the running pass adds, by block
    std::int64_t cached = 0;                      // tokens in the cache
    std::int64_t history = 0;           // of them, behind a residual window before the pass
    std::int64_t prefill_to = 0;        // those that a prefill computes
    std::vector<std::int32_t> swapped;  // its blocks on the host
    bool finished = false;
    bool running = true;  // with preemption: has blocks, or is about to
  };
  void fill_prefill(std::size_t index);
  bool fill_decode();
  std::int64_t known_tokens(const Sequence& sequence) const;
  std::int64_t unseen(const Sequence& sequence) const;
  void end_if_done(Sequence& sequence);
  void admit();
  void come_back(Sequence& sequence);
  void make_room(const Sequence& sequence);
  void preempt(Sequence& sequence);
  bool has_free(std::int64_t blocks);
  void append(std::size_t index, std::int64_t count, bool wants_logits);
  void release_lightest(Sequence& sequence, std::size_t cache);
  void advance_window(Sequence& sequence, std::int64_t end);
  void place(Sequence& sequence, std::int64_t begin, std::int64_t end);
  void grow(Sequence& sequence, std::int64_t length);
  void release_unseen(Sequence& sequence);
  void find_prefix(Sequence& sequence);
  void remember_prefix(const Sequence& sequence);
  void fork_samples(std::size_t index);
  void take_over(Sequence& sequence, const Sequence& parent);
  std::int32_t token_at(const Sequence& sequence, std::int64_t position) const;

  bool has_residual() const { return caches_.back().keep.recent; }
  /// Caches of layers without a residual window; with one, the last two are its history and itself.
  std::size_t whole_caches() const { return caches_.size() - (has_residual() ? 2 : 0); }

  std::vector<Cache> caches_;
  SchedulerOptions options_;
  std::vector<Sequence> sequences_;
  std::optional<PrefixTree> prefixes_;          // gives its blocks back before the pool goes
  std::vector<std::vector<BlockCopy>> copies_;  // of each cache, before the next pass
  PreemptionCounts preemption_;
  Pass pass_;
  std::int64_t prefill_pass_count_ = 0;
  std::int64_t prefill_number_ = 0, decode_number_ = 0;
};

}  // namespace vramplan
