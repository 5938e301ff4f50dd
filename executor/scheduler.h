#pragma once
// Scheduler: which tokens of which sequences make up the next forward pass. Static batching: every
// sequence is prefilled on its own in chunks, then all decode together until each has its tokens.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "executor/block_table.h"
#include "executor/transformer.h"
#include "planner/ledger.h"

namespace vramplan {

/// One forward pass, owning what PassInput points to.
struct Pass {
  Phase phase = Phase::kPrefill;
  std::int64_t number = 0;              // chunk or step within its phase, from 1
  std::vector<std::int64_t> sequences;  // one a slice
  std::vector<std::int64_t> sampled;    // the sequence of each logits row
  std::vector<std::int32_t> ids, positions, logit_rows;
  std::vector<std::int64_t> slots;
  std::vector<SequenceSlice> slices;

  PassInput input() const { return {ids, positions, slots, slices, logit_rows}; }
};

struct SchedulerOptions {
  TokensPerBlock block;
  std::int64_t prefill_chunk = 0;        // most tokens of a prefill pass
  std::int64_t output = 0;               // tokens to generate for each sequence, >= 1
  std::vector<std::int32_t> end_tokens;  // one of these ends a sequence early
  bool logits_of_all = false;            // prefill gives the logits of every position
};

class Scheduler {
 public:
  Scheduler(BlockPool& pool, std::vector<std::vector<std::int32_t>> prompts,
            SchedulerOptions options);

  /// The next pass with its blocks taken, or nothing when every sequence is done. A pass that
  /// produces a token also takes the slot that token will need. The pass is valid until the next
  /// call. Errors: kOutOfPlan from the pool.
  const Pass* next();
  /// The tokens the pass just run produced, one for each of pass.sampled.
  void complete(std::span<const std::int32_t> tokens);

  /// Puts every sequence right before its last decode step, as if the steps between had run: decode
  /// needs the most memory there. For a pass that only asks for sizes.
  void skip_to_last_step();

  std::int64_t sequence_count() const { return static_cast<std::int64_t>(sequences_.size()); }
  std::int64_t prefill_pass_count() const { return prefill_pass_count_; }
  const std::vector<std::int32_t>& generated(std::int64_t sequence) const;

 private:
  struct Sequence {
    std::vector<std::int32_t> prompt, generated;
    BlockTable table;
    std::int64_t cached = 0;  // tokens in the cache
    bool finished = false;
  };
  void fill_prefill(std::size_t index);
  bool fill_decode();
  void append(std::size_t index, std::int64_t count, bool wants_logits);
  std::int32_t token_at(const Sequence& sequence, std::int64_t position) const;

  SchedulerOptions options_;
  std::vector<Sequence> sequences_;
  Pass pass_;
  std::int64_t prefill_pass_count_ = 0;
  std::int64_t prefill_number_ = 0, decode_number_ = 0;
};

}  // namespace vramplan
