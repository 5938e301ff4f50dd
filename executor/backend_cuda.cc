#include "executor/backend_cuda.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/cuda/workspace.h"

namespace vramplan {
namespace {

GpuFacts facts_of(const cuda::DeviceProperties& properties) {
  return {properties.multiprocessors, cuda::gemm_workspace_bytes(properties.major)};
}

/// One query a sequence and logits of each: what a decode step is.
bool is_decode_step(const PassInput& pass) {
  return cuda::is_decode(pass.groups.front().slices) && pass.logit_rows.size() == pass.ids.size();
}

}  // namespace

CudaBackend::CudaBackend(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
                         const CudaOptions& options, Bytes capacity)
    : runtime_(runtime),
      kernels_(kernels),
      options_(options),
      facts_(facts_of(runtime.properties(options.device))),
      device_(runtime, capacity),
      host_(runtime),
      stream_(runtime),
      ops_(runtime, kernels, stream_.value, facts_.multiprocessors, options.activations),
      upload_(runtime, kernels, stream_.value, host_, options.random_on_host) {
  runtime_.make_gemm();
}

CudaBackend::~CudaBackend() { drop_pass_state(); }

void CudaBackend::drop_pass_state() noexcept {
  for (auto& [rows, pass] : graphs_) runtime_.destroy(pass.graph);
  graphs_.clear();
  warm_.clear();
  for (Slot& slot : slots_) {
    runtime_.destroy(slot.sent);
    host_.release(slot.memory);
  }
  slots_.clear();
}

Tier& CudaBackend::tier(TierKind kind) {
  if (kind == TierKind::kDisk) {
    throw Error(ErrorCode::kUnsupported, "a disk tier on the cuda backend");
  }
  if (kind == TierKind::kHost) return host_;
  return device_;
}

void CudaBackend::bind(GpuWorkspace* workspace) {
  drop_pass_state();
  workspace_ = workspace;
  ops_.bind(workspace);
  ops_.begin({});
  if (workspace == nullptr) return;
  slots_.resize(kSlots);
  for (Slot& slot : slots_) {
    slot.memory = host_.reserve(workspace->arrays_bytes(), "the staging of a pass");
    slot.sent = runtime_.make_event();
  }
}

std::int64_t CudaBackend::padded_rows(std::int64_t rows) const {
  const auto power = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)));
  return std::min(power, std::max(rows, workspace_->shape().slices));
}

TensorView CudaBackend::run_pass(const PassInput& pass, Arena& activations,
                                 const ForwardPass& forward) {
  VRAMPLAN_CHECK(workspace_ != nullptr);
  const auto rows = static_cast<std::int64_t>(pass.ids.size());
  if (!options_.graphs || options_.naive || !is_decode_step(pass))
    return forward(stage(pass, rows));
  const std::int64_t padded = padded_rows(rows);
  const PassInput staged = stage(pass, padded);
  const auto known = graphs_.find(padded);
  if (known != graphs_.end()) {
    runtime_.launch(known->second.graph, stream_.value);
    return activations.retake(known->second.logits);
  }
  // The first pass of a size loads kernels and chooses algorithms, which a capture must not.
  if (warm_.insert(padded).second) return forward(staged);
  return captured(padded, staged, forward);
}

TensorView CudaBackend::captured(std::int64_t rows, const PassInput& staged,
                                 const ForwardPass& forward) {
  CapturedPass pass;
  runtime_.begin_capture(stream_.value);
  try {
    pass.logits = forward(staged);
  } catch (...) {
    runtime_.abandon_capture(stream_.value);
    throw;
  }
  pass.graph = runtime_.end_capture(stream_.value);
  graphs_.emplace(rows, pass);
  runtime_.launch(pass.graph, stream_.value);
  return pass.logits;
}

template <class T>
T* CudaBackend::staged(const Slot& slot, const TensorView& array) const {
  const auto* const base = static_cast<const std::byte*>(workspace_->arrays().ids.data);
  return reinterpret_cast<T*>(slot.memory.data +
                              (static_cast<const std::byte*>(array.data) - base));
}

/// Writes the arrays of a pass, with rows that change nothing up to `rows`: their K and V go
/// nowhere and their logits are not read.
void CudaBackend::fill(Slot& slot, const PassInput& pass, std::int64_t rows) const {
  const IndexArrays& a = workspace_->arrays();
  const auto put = [&](auto* to, const auto& values, auto padding) {
    std::copy(values.begin(), values.end(), to);
    for (auto i = static_cast<std::int64_t>(values.size()); i < rows; ++i) to[i] = padding;
  };
  put(staged<std::int32_t>(slot, a.ids), pass.ids, 0);
  put(staged<std::int32_t>(slot, a.positions), pass.positions, 0);
  auto* const logit_rows = staged<std::int32_t>(slot, a.logit_rows);
  std::copy(pass.logit_rows.begin(), pass.logit_rows.end(), logit_rows);
  for (auto row = static_cast<std::int64_t>(pass.ids.size()); row < rows; ++row) {
    logit_rows[row] = static_cast<std::int32_t>(row);
  }
  slot.slices.resize(pass.groups.size());
  slot.groups.clear();
  for (std::size_t g = 0; g < pass.groups.size(); ++g) {
    put(staged<std::int64_t>(slot, a.groups[g].slots), pass.groups[g].slots, std::int64_t{-1});
    fill_group(slot, pass.groups[g], g, rows);
    slot.groups.push_back(
        {{staged<std::int64_t>(slot, a.groups[g].slots), static_cast<std::size_t>(rows)},
         slot.slices[g],
         {}});
  }
  const std::vector<SequenceSlice>& slices = slot.slices.front();
  for (std::size_t s = 0; s < slices.size(); ++s) {
    staged<std::int32_t>(slot, a.query_begin)[s] = static_cast<std::int32_t>(slices[s].query_begin);
    staged<std::int32_t>(slot, a.query_count)[s] = static_cast<std::int32_t>(slices[s].query_count);
  }
}

/// Slices of one group with their tables in the staging; padding reads one token of the first.
void CudaBackend::fill_group(Slot& slot, const GroupInput& input, std::size_t group,
                             std::int64_t rows) const {
  const GroupArrays& a = workspace_->arrays().groups[group];
  const std::int64_t width = workspace_->shape().blocks_per_slice[group];
  auto* const tables = staged<std::int32_t>(slot, a.block_tables);
  std::vector<SequenceSlice>& slices = slot.slices[group];
  slices.assign(input.slices.begin(), input.slices.end());
  for (auto row = static_cast<std::int64_t>(input.slots.size()); row < rows; ++row) {
    slices.push_back({row, 1, 1, input.slices.front().block_table});
  }
  for (std::size_t s = 0; s < slices.size(); ++s) {
    SequenceSlice& slice = slices[s];
    std::int32_t* const table = tables + static_cast<std::int64_t>(s) * width;
    const std::int64_t used = blocks_for(Tokens{slice.kv_length}, workspace_->shape().block).n;
    VRAMPLAN_CHECK(used <= width);
    std::copy_n(slice.block_table, used, table);
    slice.block_table = table;
    staged<std::int32_t>(slot, a.kv_length)[s] = static_cast<std::int32_t>(slice.kv_length);
  }
}

cuda::DeviceSlices CudaBackend::on_device(const std::vector<SequenceSlice>& slices,
                                          std::size_t group) const {
  const IndexArrays& a = workspace_->arrays();
  cuda::DeviceSlices on;
  on.count = static_cast<std::int64_t>(slices.size());
  on.query_begin = static_cast<const std::int32_t*>(a.query_begin.data);
  on.query_count = static_cast<const std::int32_t*>(a.query_count.data);
  on.kv_length = static_cast<const std::int32_t*>(a.groups[group].kv_length.data);
  on.block_tables = static_cast<const std::int32_t*>(a.groups[group].block_tables.data);
  on.blocks_per_row = workspace_->shape().blocks_per_slice[group];
  for (const SequenceSlice& slice : slices) {
    on.most_queries = std::max(on.most_queries, slice.query_count);
    on.most_kv = std::max(on.most_kv, slice.kv_length);
  }
  // A captured step stays valid, and its splits alike, while the caches grow.
  if (!options_.naive && cuda::is_decode(slices)) on.most_kv = workspace_->most_context();
  return on;
}

/// The pass with its arrays in pinned memory, on their way to the device.
PassInput CudaBackend::stage(const PassInput& pass, std::int64_t rows) {
  const IndexShape& shape = workspace_->shape();
  const IndexArrays& a = workspace_->arrays();
  VRAMPLAN_CHECK(rows <= shape.tokens && pass.groups.size() == a.groups.size());
  slot_ = (slot_ + 1) % slots_.size();
  Slot& slot = slots_[slot_];
  if (slot.in_flight) runtime_.synchronize(slot.sent);
  slot.in_flight = false;
  const auto given = static_cast<std::int64_t>(pass.groups.front().slices.size());
  VRAMPLAN_CHECK(given > 0 && given <= shape.slices);
  fill(slot, pass, rows);
  const auto slices = static_cast<std::int64_t>(slot.slices.front().size());
  VRAMPLAN_CHECK(slices <= shape.slices);

  auto* const base = static_cast<std::byte*>(a.ids.data);
  const Bytes used = Bytes{static_cast<std::byte*>(a.groups.back().block_tables.data) - base} +
                     bytes_of(DType::kI32, slices, shape.blocks_per_slice.back());
  runtime_.copy(stream_.value, base, slot.memory.data, used, cuda::CopyKind::kToDevice);
  slot.in_flight = true;
  runtime_.record(slot.sent, stream_.value);

  CudaPass on{slot.memory.data, base, workspace_->arrays_bytes(), {}};
  for (std::size_t g = 0; g < slot.slices.size(); ++g) {
    on.groups.push_back({slot.slices[g].data(), on_device(slot.slices[g], g)});
  }
  ops_.begin(std::move(on));

  const auto count = static_cast<std::size_t>(rows);
  const std::size_t logit_rows = pass.logit_rows.size() + (count - pass.ids.size());
  return {{staged<std::int32_t>(slot, a.ids), count},
          {staged<std::int32_t>(slot, a.positions), count},
          slot.groups,
          {staged<std::int32_t>(slot, a.logit_rows), logit_rows}};
}

std::vector<std::int32_t> CudaBackend::sample(const SampleRequest& request) {
  const IndexArrays& a = workspace_->arrays();
  Slot& slot = slots_[slot_];
  const auto count = static_cast<std::size_t>(request.rows);
  VRAMPLAN_CHECK(request.first + request.rows <= request.logits.rows);
  VRAMPLAN_CHECK(request.rows <= workspace_->shape().tokens);
  const TensorView rows{
      static_cast<float*>(request.logits.data) + request.first * request.logits.columns,
      DType::kF32, request.rows, request.logits.columns};
  if (request.sampling.temperature > 0) {
    VRAMPLAN_CHECK(request.uniform.size() == count);
    auto* const draws = staged<float>(slot, a.uniform);
    std::copy(request.uniform.begin(), request.uniform.end(), draws);
    runtime_.copy(stream_.value, a.uniform.data, draws, {request.rows * 4},
                  cuda::CopyKind::kToDevice);
  }
  auto* const device_ids = static_cast<std::int32_t*>(a.sampled.data);
  kernels_.sample(stream_.value, device_ids, rows, static_cast<const float*>(a.uniform.data),
                  static_cast<float>(request.sampling.temperature),
                  static_cast<float>(request.sampling.top_p), request.workspace);
  auto* const ids = staged<std::int32_t>(slot, a.sampled);
  runtime_.copy(stream_.value, ids, device_ids, {request.rows * 4}, cuda::CopyKind::kToHost);
  synchronize();
  return {ids, ids + count};
}

void CudaBackend::read(void* to, const void* from, Bytes size) {
  runtime_.copy(stream_.value, to, from, size, cuda::CopyKind::kToHost);
  synchronize();
}

std::int64_t CudaBackend::graph_nodes() const {
  std::int64_t nodes = 0;
  for (const auto& [rows, pass] : graphs_) nodes += pass.graph.nodes;
  return nodes;
}

}  // namespace vramplan
