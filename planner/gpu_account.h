#pragma once
// GpuAccount: what a rank on a GPU takes besides weights, cache and activations, and the one
// reservation that holds all its tensors. The rows and their formulas: planner/README.md.
#include "modelcards/device_card.h"
#include "planner/decisions.h"
#include "planner/weights.h"

namespace vramplan {

/// cudaMalloc and graphs take whole pages. Source: NVIDIA's driver, seen as steps of
/// cudaMemGetInfo.
inline constexpr Bytes kGpuPage{2 * 1024 * 1024};
/// Pinned buffers that weights pass through when they are loaded.
inline constexpr Bytes kUploadBytes{2 * 16 * 1024 * 1024};
/// Copies of a pass's arrays in pinned memory: one is filled while the other is on its way.
inline constexpr std::int64_t kStagedPasses = 2;

/// The parts of a GPU's account that context and batch do not change.
struct GpuAccount {
  int multiprocessors = 1;
  Bytes gemm;                     // workspace of the GEMM library
  Bytes vectors;                  // f32 copies of 16-bit norms and biases, each rounded up to 256 B
  Bytes rope;                     // distinct rotary tables, 4 B x rotary_dim / 2 each, rounded
  std::int64_t decode_calls = 0;  // kernels of a decode step
  std::int64_t draft_calls = 0;   // kernels of a step of the draft model; 0 without
  std::vector<KvKeep> groups;     // of layers that keep the same tokens, at least one
  Bytes graph_node;               // of one of them in a graph, as the device card says
};
GpuAccount gpu_account(const RankModel& model, const DeviceCard& device,
                       const Decisions& decisions);
/// A draft model beside it: its tables and f32 copies, in the same workspace, and its steps.
void add_draft(GpuAccount& gpu, const RankModel& draft, const DeviceCard& device,
               const Decisions& decisions);

/// With T tokens of the longest pass (of a step with k guesses, S (k + 1)), S sequences, for each
/// of the G groups B = table_blocks, and r(x) = x rounded up to 256 B: 5 r(4 T) + G r(8 T) + (2 +
/// G) r(4 S) + sum of r(4 S B); r(4 T) for each group with sinks; r(8 S B) for each with a budget;
/// r(16 max(ceil(chunk / 32), S)) with a residual window. Of the arrays alone, without rotary
/// tables.
Bytes pass_array_bytes(const GpuAccount& gpu, const Decisions& decisions);
/// Pass arrays and rotary tables.
Bytes index_bytes(const GpuAccount& gpu, const Decisions& decisions);
/// Pinned host memory: kStagedPasses copies of the pass arrays and the buffers of weights.
Bytes staging_bytes(const GpuAccount& gpu, const Decisions& decisions);
/// Operations of a decode step x graph_node in whole pages; 0 when fewer than two decode steps
/// run (the first runs without), and where none is captured. With preemption that much for each
/// number of rows with two steps; of guesses one for the model and one for each kind of step of the
/// draft, of two tokens a sequence and of one.
Bytes graph_bytes(const GpuAccount& gpu, const Decisions& decisions);

}  // namespace vramplan
