#include "executor/padded_pass.h"

#include "modelcards/error.h"

namespace vramplan {
namespace {

template <class T>
void fill(std::vector<T>& to, std::span<const T> from, std::int64_t rows, T padding) {
  to.assign(from.begin(), from.end());
  to.resize(static_cast<std::size_t>(rows), padding);
}

/// A history takes no rows of its own; the group after it is its residual window.
bool is_history(const GroupInput& group) { return group.slots.empty(); }

}  // namespace

PassInput PaddedPass::of(const PassInput& pass, std::int64_t rows) {
  const auto own = static_cast<std::int64_t>(pass.ids.size());
  VRAMPLAN_CHECK(pass.decode && rows >= own && pass.logit_rows.size() == pass.ids.size());
  fill(ids_, pass.ids, rows, 0);
  fill(positions_, pass.positions, rows, 0);
  fill(logit_rows_, pass.logit_rows, rows, 0);
  for (std::int64_t row = own; row < rows; ++row) {
    logit_rows_[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(row);
  }
  groups_.resize(pass.groups.size());
  inputs_.clear();
  for (std::size_t g = 0; g < pass.groups.size(); ++g) {
    const GroupInput& from = pass.groups[g];
    Group& to = groups_[g];
    const bool history = is_history(from);
    fill(to.slots, from.slots, history ? 0 : rows, std::int64_t{-1});
    to.slices.assign(from.slices.begin(), from.slices.end());
    for (std::int64_t row = own; row < rows; ++row) {
      const std::int64_t tokens = history ? 0 : 1;
      to.slices.push_back({row, tokens, tokens, from.slices.front().block_table});
    }
    fill(to.sink_positions, from.sink_positions, from.sink_positions.empty() ? 0 : rows, 0);
    const bool recent = g > 0 && is_history(pass.groups[g - 1]);
    fill(to.packs, from.packs, recent ? rows : 0, KvPack{-1, 0});
    inputs_.push_back({to.slots, to.slices, to.sink_positions, to.packs});
  }
  return {ids_, positions_, inputs_, logit_rows_, true};
}

PassInput PaddedPass::of_guesses(const PassInput& pass, std::int64_t sequences,
                                 std::int64_t queries) {
  if (queries == 1) return of(pass, sequences);
  const std::int64_t rows = sequences * queries;
  const auto own = static_cast<std::int64_t>(pass.ids.size());
  VRAMPLAN_CHECK(pass.decode && pass.groups.size() == 1 && rows >= own);
  const bool all = pass.logit_rows.size() == pass.ids.size();
  fill(ids_, pass.ids, rows, 0);
  fill(positions_, pass.positions, rows, 0);
  fill(logit_rows_, pass.logit_rows, all ? rows : sequences, static_cast<std::int32_t>(rows - 1));
  groups_.resize(1);
  Group& to = groups_.front();
  fill(to.slots, pass.groups.front().slots, rows, std::int64_t{-1});
  to.slices.assign(pass.groups.front().slices.begin(), pass.groups.front().slices.end());
  VRAMPLAN_CHECK(static_cast<std::int64_t>(to.slices.size()) <= sequences);
  to.slices.resize(static_cast<std::size_t>(sequences),
                   SequenceSlice{own, 0, 0, to.slices.front().block_table});
  inputs_ = {{to.slots, to.slices, {}, {}}};
  return {ids_, positions_, inputs_, logit_rows_, true, queries};
}

}  // namespace vramplan
