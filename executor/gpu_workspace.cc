#include "executor/gpu_workspace.h"

#include <algorithm>

namespace vramplan {

std::int64_t step_queries(const Decisions& decisions) {
  const GuessDecision& guesses = decisions.speculation;
  if (!guesses.any()) return 0;
  return std::clamp<std::int64_t>(decisions.output.n - 2, 0, guesses.tokens) + 1;
}

IndexShape index_shape(const Decisions& decisions, const std::vector<KvKeep>& groups) {
  const Tokens prompt = decisions.context - decisions.output;
  IndexShape shape;
  const std::int64_t rows = std::max<std::int64_t>(1, step_queries(decisions));
  shape.tokens = std::max(std::min(decisions.prefill_chunk, prompt).n, decisions.batch * rows);
  shape.slices = decisions.batch;
  for (const KvKeep& keep : groups) {
    const TokensPerBlock block = keep.recent ? kResidualBlock : decisions.block;
    shape.groups.push_back({keep, block, table_blocks(decisions, keep).n});
    if (!keep.recent) continue;
    const std::int64_t chunk = std::min(decisions.prefill_chunk, prompt).n;
    shape.packs = std::max(ceil_div(chunk, kResidualBlock.n), decisions.batch);
  }
  return shape;
}

GpuWorkspace::GpuWorkspace(Tier& tier, const GpuFacts& facts, const Decisions& decisions,
                           const std::vector<KvKeep>& groups, const GpuRegions& regions)
    : gemm_(tier, std::min(regions.gemm, facts.gemm_workspace), "the GEMM workspace"),
      indices_(tier, regions.indices, "the index region"),
      vectors_(tier, regions.vectors, "the region of f32 norms and biases"),
      shape_(index_shape(decisions, groups)),
      most_context_(decisions.context.n) {
  gemm_view_ = gemm_.take(DType::kI8, 1, facts.gemm_workspace.n, "GEMM workspace");
  const auto per_token = [&](const char* name, DType dtype) {
    return indices_.take(dtype, 1, shape_.tokens, name);
  };
  const auto per_slice = [&](const char* name) {
    return indices_.take(DType::kI32, 1, shape_.slices, name);
  };
  arrays_.ids = per_token("ids", DType::kI32);
  arrays_.positions = per_token("positions", DType::kI32);
  arrays_.groups.resize(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    arrays_.groups[g].slots = per_token("slots", DType::kI64);
    if (groups[g].sinks.n == 0) continue;
    arrays_.groups[g].sink_positions = per_token("sink positions", DType::kI32);
  }
  arrays_.logit_rows = per_token("logit rows", DType::kI32);
  arrays_.uniform = per_token("uniform draws", DType::kF32);
  arrays_.sampled = per_token("sampled ids", DType::kI32);
  arrays_.query_begin = per_slice("query begins");
  arrays_.query_count = per_slice("query counts");
  for (GroupArrays& group : arrays_.groups) group.kv_length = per_slice("cache lengths");
  if (shape_.packs > 0) {
    const auto size = static_cast<std::int64_t>(sizeof(KvPack));
    arrays_.packs = indices_.take(DType::kI8, shape_.packs, size, "blocks to pack");
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].budget.n == 0) continue;
    arrays_.groups[g].block_mass = indices_.take(
        DType::kI64, shape_.slices, shape_.groups[g].blocks_per_slice, "attention of blocks");
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    arrays_.groups[g].block_tables = indices_.take(
        DType::kI32, shape_.slices, shape_.groups[g].blocks_per_slice, "block tables");
  }
}

Bytes GpuWorkspace::arrays_bytes() const {
  const auto* const begin = static_cast<const std::byte*>(arrays_.ids.data);
  const TensorView& last = arrays_.groups.back().block_tables;
  return Bytes{static_cast<const std::byte*>(last.data) - begin} + last.bytes();
}

TensorView GpuWorkspace::add_rope_table(const RopeTable& table) {
  const std::vector<float>& values = table.inverse_frequency();
  const TensorView view =
      indices_.take(DType::kF32, 1, static_cast<std::int64_t>(values.size()), "rotary table");
  rope_tables_.emplace_back(values.data(), view);
  return view;
}

const float* GpuWorkspace::rope_table(const float* host) const {
  for (const auto& [known, view] : rope_tables_) {
    if (known == host) return static_cast<const float*>(view.data);
  }
  return nullptr;
}

}  // namespace vramplan
