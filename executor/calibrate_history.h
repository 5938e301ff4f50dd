#pragma once
// TimedHistory: a sequence behind a residual window laid over memory to be timed, layer by layer
// as a run has it: blocks of a history, then blocks of its window.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "planner/op_work.h"

namespace vramplan {

inline constexpr std::int64_t kHeadShapes[][3] = {{9, 3, 64}, {32, 8, 128}};  // heads, kv, width

/// f32 activations over a cache of format `kv`, of one of kHeadShapes.
AttentionShape attention_shape(const std::int64_t (&heads)[3], DType kv);

class TimedHistory {
 public:
  /// `shape` has a residual window; `kv_length` tokens are in the cache, `queries` of them new.
  TimedHistory(std::byte* memory, std::int64_t bytes, const AttentionShape& shape,
               std::int64_t queries, std::int64_t kv_length);
  TimedHistory(const TimedHistory&) = delete;
  TimedHistory& operator=(const TimedHistory&) = delete;

  bool fits() const { return layers_ > 0; }
  OpWork work() const { return attention_work(shape_, queries_, kv_length_); }
  Bytes workspace(const Ops& ops) const;
  /// The call's layer is i modulo those that fit.
  void attend(Ops& ops, std::int64_t i, TensorView out, TensorView q, TensorView workspace);
  /// One block of the window to a place in the history.
  OpWork pack_work() const;
  void pack(Ops& ops, std::int64_t i) const;

 private:
  KvLayerView layer(const KvLayerView& of, std::int64_t i) const;

  AttentionShape shape_;
  std::int64_t queries_, kv_length_, layers_ = 0;
  KvLayerView history_, recent_;
  std::vector<std::int32_t> table_;
  SequenceSlice slice_, behind_;
  AttentionParams params_;
};

}  // namespace vramplan
