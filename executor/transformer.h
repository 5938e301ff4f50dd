#pragma once
// Transformer: the forward pass of a dense decoder, written once over Ops, Communicator and Arena.
// It takes and gives back its tensors in the order planner/README.md fixes; it owns none of its
// parts.
#include <functional>
#include <span>
#include <vector>

#include "executor/arena.h"
#include "executor/communicator.h"
#include "executor/hidden_states.h"
#include "executor/kv_store.h"
#include "executor/pass_input.h"
#include "executor/rank_weights.h"
#include "executor/rope_table.h"
#include "executor/weight_stream.h"
#include "kernels/ops.h"

namespace vramplan {

/// What the transformer works with, on one rank.
struct TransformerParts {
  Ops& ops;
  Arena& arena;  // of activations and scratch
  const RankWeights& weights;
  const KvStore& kv;
  Communicator& tensor_group;             // the tp ranks of this stage
  Communicator& stages;                   // the pp ranks with this tensor rank
  KvStream* stream = nullptr;             // of layers whose cache lives beyond the device
  WeightStream* weight_stream = nullptr;  // of layers whose matrices live in host memory
  std::int64_t kv_stride = 1;             // of a history behind a residual window
  HiddenStates* hidden_states = nullptr;  // of a prompt that is prefilled layer by layer
  std::int64_t by_layer_chunk = 0;        // tokens of it at one time
  std::function<PassInput(const PassInput&)> stage_part = {};  // of such a chunk; null: as it is
};

class Transformer {
 public:
  Transformer(const ModelCard& card, const ModelPart& part, DType activations,
              AttentionAlgorithm attention, const TransformerParts& parts);

  /// Logits [R, vocab] f32 in the arena, for the caller to give back after synchronising; with tp >
  /// 1 a row ends in the padding of the split vocabulary. Empty when R = 0 and before the last
  /// stage. Errors: kOutOfPlan naming the tensor that did not fit.
  TensorView forward(const PassInput& pass);
  /// The distinct rotary tables; a GPU needs copies of them.
  const std::vector<RopeTable>& rope_tables() const { return rope_tables_; }

 private:
  struct Linear {
    TensorView out;
    const LinearWeights* weights;
    bool split_input = false;  // each rank adds a part of the sum: only one of them adds the bias
  };
  TensorView embed(const PassInput& pass);
  /// `n` is the layer's first norm of x (x itself without one); gives the next layer's.
  TensorView layer(std::int64_t index, TensorView x, TensorView n, const PassInput& pass,
                   bool norms_next = true);
  /// A prompt whose hidden states wait in host memory between the layers.
  TensorView forward_by_layer(const PassInput& pass);
  /// x after the last layer: to the next stage, or to logits; given back.
  TensorView finish(TensorView x, const PassInput& pass);
  /// Both make p [T, hidden]; attention gives n back when `drop_input`, feed_forward when n is a
  /// norm's.
  TensorView attention(std::int64_t index, TensorView& n, bool drop_input, const PassInput& pass);
  TensorView feed_forward(std::int64_t index, TensorView& n);
  TensorView logits(TensorView& x, const PassInput& pass);

  TensorView take(std::int64_t rows, std::int64_t columns, const char* name);
  TensorView copied(const TensorView& x, const char* name);
  TensorView normed(TensorView x, const NormWeights& norm, const char* name);
  void apply_norm(TensorView out, TensorView x, const NormWeights& norm);
  /// Several products of one input that share one scratch.
  void linear(TensorView in, std::span<const Linear> products);
  /// x += p, which is given back; with `next` also a new n = norm(x), made while p still lives.
  TensorView add_to(TensorView x, TensorView& p, const NormWeights& post_norm,
                    const NormWeights* next);

  const ModelCard& card_;
  ModelPart part_;
  DType activations_;
  bool naive_;
  Ops& ops_;
  Arena& arena_;
  const RankWeights& weights_;
  const KvStore& kv_;
  std::int64_t kv_stride_;
  Communicator& tensor_group_;
  Communicator& stages_;
  KvStream* stream_;
  WeightStream* weight_stream_;
  HiddenStates* hidden_states_;
  std::int64_t by_layer_chunk_;
  std::function<PassInput(const PassInput&)> stage_part_;
  std::vector<LayerPart> widths_;       // per layer of the rank
  std::vector<RopeTable> rope_tables_;  // the distinct ones
  std::vector<std::size_t> rope_of_;    // per layer of the rank
};

}  // namespace vramplan
