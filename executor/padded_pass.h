#pragma once
// PaddedPass: a decode step brought to a number of rows that a captured graph has: rows that change
// nothing are added, and of a residual window as many blocks leave in every step, most of them
// none.
#include <vector>

#include "executor/pass_input.h"

namespace vramplan {

class PaddedPass {
 public:
  /// `rows` at least those of `pass`, a decode step. What is added writes no K and V, reads one
  /// token of the first sequence, and has logits that mean nothing. Valid until the next call.
  PassInput of(const PassInput& pass, std::int64_t rows);
  /// A step that guesses are made or asked about in, brought to `sequences` sequences of `queries`
  /// rows each, whatever each has left to ask. Logits: of all rows, or one a sequence, as in
  /// `pass`; those added mean nothing, and their rows belong to no sequence.
  PassInput of_guesses(const PassInput& pass, std::int64_t sequences, std::int64_t queries);

 private:
  struct Group {
    std::vector<std::int64_t> slots;
    std::vector<SequenceSlice> slices;
    std::vector<std::int32_t> sink_positions;
    std::vector<KvPack> packs;
  };
  std::vector<std::int32_t> ids_, positions_, logit_rows_;
  std::vector<Group> groups_;
  std::vector<GroupInput> inputs_;
};

}  // namespace vramplan
