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
    std::vector<BlockCopy> copies;             // to be made before the pass
    std::vector<KvPack> packs;                 // of a residual window
  };
  Phase phase = Phase::kPrefill;
  std::int64_t number = 0;              // chunk or step within its phase, from 1
  std::vector<std::int64_t> sequences;  // one a slice
  std::vector<std::int64_t> sampled;    // the sequence of each logits row
  std::vector<std::int32_t> ids, positions, logit_rows;
  std::vector<Group> groups;
  std::vector<GroupInput> inputs;  // views of `groups`

  PassInput input() const { return {ids, positions, inputs, logit_rows}; }
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
  std::string tenant = {};     // whose prompts these are: blocks are never shared across tenants
  std::int64_t kv_stride = 1;  // of the history behind a residual window
};

class Scheduler {
 public:
  /// Where the layers of one group keep their tokens.
  struct Cache {
    BlockPool* pool;
    KvKeep keep;
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
  void complete(std::span<const std::int32_t> tokens);

  /// Puts every sequence right before its last decode step, as if the steps between had run: decode
  /// needs the most memory there. For a pass that only asks for sizes. Blocks are taken and given
  /// back as those steps would.
  void skip_to_last_step();

  std::int64_t sequence_count() const { return static_cast<std::int64_t>(sequences_.size()); }
  /// Null without a prefix cache.
  const PrefixTree* prefixes() const { return prefixes_ ? &*prefixes_ : nullptr; }
  std::int64_t prefill_pass_count() const { return prefill_pass_count_; }
  const std::vector<std::int32_t>& generated(std::int64_t sequence) const;

 private:
  struct Sequence {
    std::vector<std::int32_t> prompt, generated;
    std::vector<BlockTable> tables;  // of each cache
    std::int64_t cached = 0;         // tokens in the cache
    std::int64_t history = 0;        // of them, behind a residual window before the pass
    bool finished = false;
  };
  void fill_prefill(std::size_t index);
  bool fill_decode();
  void append(std::size_t index, std::int64_t count, bool wants_logits);
  void advance_window(Sequence& sequence, std::int64_t end);
  void place(const Sequence& sequence, std::int64_t begin, std::int64_t end);
  void grow(Sequence& sequence, std::int64_t length);
  void release_unseen(Sequence& sequence);
  void find_prefix(Sequence& sequence);
  void remember_prefix(const Sequence& sequence);
  void fork_samples(std::size_t index);
  std::int32_t token_at(const Sequence& sequence, std::int64_t position) const;

  bool has_residual() const { return caches_.back().keep.recent; }

  std::vector<Cache> caches_;
  SchedulerOptions options_;
  std::vector<Sequence> sequences_;
  std::optional<PrefixTree> prefixes_;  // gives its blocks back before the pool goes
  Pass pass_;
  std::int64_t prefill_pass_count_ = 0;
  std::int64_t prefill_number_ = 0, decode_number_ = 0;
};

}  // namespace vramplan
