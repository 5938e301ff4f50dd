#pragma once
// Activations: the most bytes live at one moment of a forward pass, from the lifetimes written down
// in planner/README.md. A list of moments, not a sum: a tensor that is gone takes nothing.
//
// A MoE feed-forward adds, per layer: router scores [T, experts] f32; then for the T *
// experts_per_token routed rows an input copy [.., H], gate and up [.., F], their output [.., H];
// all in the activation format.
#include <string>
#include <vector>

#include "modelcards/device_card.h"
#include "planner/weights.h"

namespace vramplan {

/// One forward pass of a rank: what it is fed.
struct PassShape {
  std::int64_t tokens = 0;      // T: rows of x
  std::int64_t logit_rows = 0;  // R: rows the head is computed for, 0 on other stages than the last
  std::int64_t sequences = 1;   // slices of equal length
  std::int64_t kv_length = 0;   // longest cache of a slice, its queries included
  std::int64_t first_kv_length = 0;  // of the first pass this stands for; 0 = there is one pass
};

/// Scratch rules of the device the pass runs on.
struct ScratchRules {
  DeviceKind kind = DeviceKind::kCpu;
  int threads = 1;
  DType activations = DType::kF32;
  AttentionAlgorithm attention = AttentionAlgorithm::kTiled;
  DType linear_inputs = DType::kI8;
  // A GPU whose kernels are ours: 0 = a device whose kernels keep all on the chip.
  int multiprocessors = 0;
  std::int64_t most_context = 0;  // a decode step is laid out for the longest cache of the plan
  KvPolicy kv_policy = KvPolicy::kKeepAll;
  KvKeep kv_keep = {};
  TokensPerBlock block{16};
  bool residual = false;  // a residual window: its part of a decode step has a result of its own
  KvFormat kv_format = KvFormat::kF16;  // of layers that have none of their own

  bool has_window(const LayerKind& layer) const;
};

struct LiveTensor {
  const char* name = "";
  Bytes bytes;  // rounded up to 256
};
struct Moment {
  std::string where;  // "attention", "feed-forward", "head"
  Bytes live;
  std::vector<LiveTensor> tensors;  // live at this moment
};

/// The moment with the most live bytes, layers of one kind counted once.
Moment peak_moment(const RankModel& model, const ScratchRules& rules, const PassShape& pass);
/// Only its bytes; the fast form.
Bytes peak_bytes(const RankModel& model, const ScratchRules& rules, const PassShape& pass);
/// The region that holds the pass when each tensor goes to the lowest address where it fits: never
/// less than the peak.
Bytes pass_extent(const RankModel& model, const ScratchRules& rules, const PassShape& pass);

/// The distinct passes of a phase that can hold its peak. Prefill: the longest full chunk without
/// logits, and the last chunk with one logits row. Decode: the last step (none when output is one
/// token); with preemption the step with the most sequences, or on a GPU each number of rows that
/// steps are brought to.
std::vector<PassShape> prefill_passes(const Decisions& decisions, bool head);
std::vector<PassShape> decode_passes(const Decisions& decisions, bool head,
                                     DeviceKind kind = DeviceKind::kCpu);

ScratchRules scratch_rules(const Decisions& decisions, DeviceKind kind, int multiprocessors = 0);
Bytes prefill_peak(const RankModel& model, const Decisions& decisions, const ScratchRules& rules);
Bytes decode_peak(const RankModel& model, const Decisions& decisions, const ScratchRules& rules);
/// The region that holds every pass.
Bytes activation_extent(const RankModel& model, const Decisions& decisions,
                        const ScratchRules& rules);

/// Scratch of one linear on the rules' device; own formula, compared with kernels/workspace.h by a
/// test.
Bytes linear_scratch(const ScratchRules& rules, std::int64_t tokens, std::int64_t in_features,
                     DType weight);
Bytes attention_scratch(const ScratchRules& rules, const PassShape& pass, const LayerKind& kind);
/// Of drawing tokens from `rows` rows of logits on a GPU.
Bytes sample_scratch(const ScratchRules& rules, std::int64_t rows, std::int64_t vocab);

}  // namespace vramplan
