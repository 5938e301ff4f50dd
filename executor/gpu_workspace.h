#pragma once
// GpuWorkspace: what a rank on a GPU takes from the device besides weights, cache and activations:
// the GEMM library's workspace, arrays of indices of a pass, rotary tables, and f32 copies of
// 16-bit norms and biases. The cuda backend fills it; the dry backend only takes it.
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "executor/arena.h"
#include "executor/rope_table.h"
#include "planner/decisions.h"

namespace vramplan {

/// What the executor must know of a GPU before it takes anything.
struct GpuFacts {
  int multiprocessors = 1;
  Bytes gemm_workspace;
};

/// Granule of device allocations: cudaMalloc hands out whole pages of 2 MiB.
inline constexpr Bytes kDevicePage{2 * 1024 * 1024};

/// Sizes of the regions.
struct GpuRegions {
  Bytes gemm, indices, vectors;
  Bytes total() const {
    const Bytes granule{Arena::kAlignment};
    return round_up(gemm, granule) + round_up(indices, granule) + round_up(vectors, granule);
  }
};

/// Of one group of layers.
struct GroupShape {
  KvKeep keep;
  TokensPerBlock block{1};
  std::int64_t blocks_per_slice = 0;
  std::int64_t most_kv() const { return block.n * blocks_per_slice; }
};

/// Rows of a sequence in the decode step that asks about the most guesses: those that leave one
/// token of the output for the model, and one for its last token. 0: nothing is guessed.
std::int64_t step_queries(const Decisions& decisions);

/// The most a pass of these decisions holds. Tokens: of a prompt's chunk or a step's rows; packs:
/// blocks that leave a residual window, one a sequence or those a chunk drives out.
struct IndexShape {
  std::int64_t tokens = 0, slices = 0, packs = 0;
  std::vector<GroupShape> groups;
};
IndexShape index_shape(const Decisions& decisions, const std::vector<KvKeep>& groups);

/// The arrays of one pass for one group of layers.
struct GroupArrays {
  TensorView slots;                // [tokens] i64
  TensorView kv_length;            // [slices] i32
  TensorView block_tables;         // [slices, blocks_per_slice] i32
  TensorView sink_positions = {};  // [tokens] i32, of a group with sinks
  TensorView block_mass = {};      // [slices, blocks_per_slice] i64, of a group with a budget
};

/// The arrays of one pass, in device memory (or at the same offsets of their staging).
struct IndexArrays {
  TensorView ids, positions, logit_rows, sampled, uniform;  // [tokens] i32 (uniform: f32)
  TensorView query_begin, query_count;                      // [slices] i32
  TensorView packs;                                         // [packs] KvPack, of a residual window
  // Block tables lie behind all other arrays: most of the last is seldom used.
  std::vector<GroupArrays> groups;
};

class GpuWorkspace {
 public:
  /// `groups`: what each group of layers keeps.
  GpuWorkspace(Tier& tier, const GpuFacts& facts, const Decisions& decisions,
               const std::vector<KvKeep>& groups, const GpuRegions& regions);

  Arena& vectors() { return vectors_; }
  Arena& indices() { return indices_; }
  const TensorView& gemm() const { return gemm_view_; }
  const IndexArrays& arrays() const { return arrays_; }
  const IndexShape& shape() const { return shape_; }
  /// From the first array to the end of the block tables.
  Bytes arrays_bytes() const;
  std::int64_t most_context() const { return most_context_; }

  /// Room for a rotary table; `table` must live as long as this.
  TensorView add_rope_table(const RopeTable& table);
  /// The device copy of a table, null when it was not added.
  const float* rope_table(const float* host) const;

  /// What tensors took of the three regions.
  Bytes gemm_bytes() const { return gemm_view_.bytes(); }
  Bytes index_bytes() const { return indices_.live(); }
  std::size_t tensor_count() const { return indices_.tensor_count(); }
  Bytes vector_bytes() const { return vectors_.live(); }
  GpuRegions extents() const { return {gemm_.size(), indices_.extent(), vectors_.extent()}; }

 private:
  Arena gemm_, indices_, vectors_;
  TensorView gemm_view_;
  IndexShape shape_;
  IndexArrays arrays_;
  std::int64_t most_context_;
  std::vector<std::pair<const float*, TensorView>> rope_tables_;
};

}  // namespace vramplan
