#include "executor/backend_cuda.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/workspace.h"

namespace vramplan {
namespace {

/// The GEMM library multiplies fp8 from compute capability 8.9 on.
bool multiplies_fp8(const cuda::DeviceProperties& properties) {
  return 10 * properties.major + properties.minor >= 89;
}

GpuFacts facts_of(const cuda::DeviceProperties& properties) {
  return {properties.multiprocessors, cuda::gemm_workspace_bytes(properties.major)};
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
      side_(runtime, stream_.value),
      ops_(runtime, kernels, stream_.value, facts_.multiprocessors, options.activations),
      upload_(runtime, kernels, stream_.value, host_, options.random_on_host) {
  runtime_.make_gemm();
  if (options.linear_inputs == DType::kF8E4M3) {
    ops_.use_fp8_inputs(multiplies_fp8(runtime.properties(options.device)));
  }
}

CudaBackend::~CudaBackend() { drop_pass_state(); }

void CudaBackend::drop_pass_state() noexcept {
  for (auto& [kind, pass] : graphs_) runtime_.destroy(pass.graph);
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
  mass_on_its_way_ = false;
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

std::int64_t CudaBackend::step_rows(std::int64_t rows) const {
  return options_.graphs ? captured_rows(rows, workspace_->shape().slices) : rows;
}

TensorView CudaBackend::run_pass(const PassInput& pass, Arena& activations,
                                 const ForwardPass& forward) {
  VRAMPLAN_CHECK(workspace_ != nullptr);
  if (options_.by_layer && !pass.decode && pass.ids.size() > 1) return forward(pass);
  const PassInput staged = stage(pass);
  const TensorView logits = run_staged(pass, staged, activations, forward);
  fetch_mass();
  return logits;
}

TensorView CudaBackend::run_staged(const PassInput& pass, const PassInput& staged,
                                   Arena& activations, const ForwardPass& forward) {
  if (!options_.graphs || !pass.decode) return forward(staged);
  const StepKind kind{&activations, static_cast<std::int64_t>(pass.ids.size())};
  const auto known = graphs_.find(kind);
  if (known != graphs_.end()) {
    runtime_.launch(known->second.graph, stream_.value);
    return activations.retake(known->second.logits);
  }
  // The first pass of a size loads kernels and chooses algorithms, which a capture must not.
  if (warm_.insert(kind).second) return forward(staged);
  return captured(kind, staged, forward);
}

void CudaBackend::synchronize() {
  runtime_.synchronize(stream_.value);
  take_mass();
}

/// What blocks got comes back to where the zeros came from that it was added to.
void CudaBackend::fetch_mass() {
  const Slot& slot = slots_[slot_];
  for (std::size_t g = 0; g < slot.groups.size(); ++g) {
    const TensorView& mass = workspace_->arrays().groups[g].block_mass;
    if (mass.data == nullptr) continue;
    const auto slices = static_cast<std::int64_t>(slot.slices[g].size());
    runtime_.copy(stream_.value, staged<std::int64_t>(slot, mass), mass.data,
                  bytes_of(DType::kI64, slices, mass.columns), cuda::CopyKind::kToHost);
    mass_on_its_way_ = true;
  }
}

void CudaBackend::take_mass() {
  if (!mass_on_its_way_) return;
  mass_on_its_way_ = false;
  const Slot& slot = slots_[slot_];
  for (std::size_t g = 0; g < slot.groups.size(); ++g) {
    const TensorView& mass = workspace_->arrays().groups[g].block_mass;
    if (mass.data == nullptr) continue;
    const std::int64_t* row = staged<std::int64_t>(slot, mass);
    for (const SequenceSlice& slice : slot.slices[g]) {
      const TokensPerBlock block = workspace_->shape().groups[g].block;
      const std::int64_t blocks = blocks_for(Tokens{slice.kv_length}, block).n;
      for (std::int64_t b = 0; b < blocks && slice.block_mass != nullptr; ++b) {
        slice.block_mass[b] += row[b];
      }
      row += mass.columns;
    }
  }
}

TensorView CudaBackend::captured(const StepKind& kind, const PassInput& staged,
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
  graphs_.emplace(kind, pass);
  runtime_.launch(pass.graph, stream_.value);
  return pass.logits;
}

template <class T>
T* CudaBackend::staged(const Slot& slot, const TensorView& array) const {
  const auto* const base = static_cast<const std::byte*>(workspace_->arrays().ids.data);
  return reinterpret_cast<T*>(slot.memory.data +
                              (static_cast<const std::byte*>(array.data) - base));
}

template <class T>
std::span<const T> CudaBackend::put(const Slot& slot, const TensorView& array,
                                    std::span<const T> values) const {
  if (values.empty()) return {};
  VRAMPLAN_CHECK(static_cast<std::int64_t>(values.size_bytes()) <= array.bytes().n);
  T* const to = staged<T>(slot, array);
  std::copy(values.begin(), values.end(), to);
  return {to, values.size()};
}

/// Writes the arrays of a pass.
void CudaBackend::fill(Slot& slot, const PassInput& pass) const {
  const IndexArrays& a = workspace_->arrays();
  slot.ids = put(slot, a.ids, pass.ids);
  slot.positions = put(slot, a.positions, pass.positions);
  slot.logit_rows = put(slot, a.logit_rows, pass.logit_rows);
  slot.slices.resize(pass.groups.size());
  slot.groups.clear();
  for (std::size_t g = 0; g < pass.groups.size(); ++g) {
    fill_group(slot, pass.groups[g], g);
    const GroupInput& input = pass.groups[g];
    slot.groups.push_back({put(slot, a.groups[g].slots, input.slots), slot.slices[g],
                           put(slot, a.groups[g].sink_positions, input.sink_positions),
                           put(slot, a.packs, input.packs)});
  }
  // Of a history the counts are others; the last group's are always those of the queries.
  const std::vector<SequenceSlice>& slices = slot.slices.back();
  for (std::size_t s = 0; s < slices.size(); ++s) {
    staged<std::int32_t>(slot, a.query_begin)[s] = static_cast<std::int32_t>(slices[s].query_begin);
    staged<std::int32_t>(slot, a.query_count)[s] = static_cast<std::int32_t>(slices[s].query_count);
  }
}

/// Slices of one group with their tables in the staging.
void CudaBackend::fill_group(Slot& slot, const GroupInput& input, std::size_t group) const {
  const GroupArrays& a = workspace_->arrays().groups[group];
  const GroupShape& shape = workspace_->shape().groups[group];
  auto* const tables = staged<std::int32_t>(slot, a.block_tables);
  std::vector<SequenceSlice>& slices = slot.slices[group];
  slices.assign(input.slices.begin(), input.slices.end());
  if (a.block_mass.data != nullptr) {  // goes to the device as zeros
    const auto count = static_cast<std::int64_t>(slices.size()) * shape.blocks_per_slice;
    std::fill_n(staged<std::int64_t>(slot, a.block_mass), count, std::int64_t{0});
  }
  for (std::size_t s = 0; s < slices.size(); ++s) {
    SequenceSlice& slice = slices[s];
    std::int32_t* const table = tables + static_cast<std::int64_t>(s) * shape.blocks_per_slice;
    const std::int64_t used = blocks_for(Tokens{slice.kv_length}, shape.block).n;
    VRAMPLAN_CHECK(used <= shape.blocks_per_slice);
    std::copy_n(slice.block_table, used, table);
    slice.block_table = table;
    staged<std::int32_t>(slot, a.kv_length)[s] = static_cast<std::int32_t>(slice.kv_length);
  }
}

cuda::DeviceSlices CudaBackend::on_device(const Slot& slot, std::size_t group,
                                          const PassInput& pass) const {
  const IndexArrays& a = workspace_->arrays();
  const GroupShape& shape = workspace_->shape().groups[group];
  cuda::DeviceSlices on;
  on.count = static_cast<std::int64_t>(slot.slices[group].size());
  on.query_begin = static_cast<const std::int32_t*>(a.query_begin.data);
  on.query_count = static_cast<const std::int32_t*>(a.query_count.data);
  on.kv_length = static_cast<const std::int32_t*>(a.groups[group].kv_length.data);
  on.block_tables = static_cast<const std::int32_t*>(a.groups[group].block_tables.data);
  on.blocks_per_row = shape.blocks_per_slice;
  on.block_mass = static_cast<std::int64_t*>(a.groups[group].block_mass.data);
  if (pass.decode) on.most_queries = pass.step_queries;
  for (const SequenceSlice& slice : slot.slices.back()) {
    on.most_queries = std::max(on.most_queries, slice.query_count);
  }
  for (const SequenceSlice& slice : slot.slices[group]) {
    on.most_kv = std::max(on.most_kv, slice.kv_length);
  }
  // A captured step stays valid, and its splits alike, while the caches grow.
  if (!options_.naive && (pass.decode || cuda::is_decode(slot.slices.back()))) {
    on.most_kv = std::min(workspace_->most_context(), shape.most_kv());
  }
  return on;
}

/// The pass with its arrays in pinned memory, on their way to the device.
PassInput CudaBackend::stage(const PassInput& pass) {
  const IndexShape& shape = workspace_->shape();
  const IndexArrays& a = workspace_->arrays();
  VRAMPLAN_CHECK(pass.groups.size() == a.groups.size());
  slot_ = (slot_ + 1) % slots_.size();
  Slot& slot = slots_[slot_];
  if (slot.in_flight) runtime_.synchronize(slot.sent);
  slot.in_flight = false;
  const auto slices = static_cast<std::int64_t>(pass.groups.front().slices.size());
  VRAMPLAN_CHECK(slices > 0 && slices <= shape.slices);
  fill(slot, pass);

  auto* const base = static_cast<std::byte*>(a.ids.data);
  const Bytes used = Bytes{static_cast<std::byte*>(a.groups.back().block_tables.data) - base} +
                     bytes_of(DType::kI32, slices, shape.groups.back().blocks_per_slice);
  runtime_.copy(stream_.value, base, slot.memory.data, used, cuda::CopyKind::kToDevice);
  slot.in_flight = true;
  runtime_.record(slot.sent, stream_.value);

  CudaPass on{slot.memory.data, base, workspace_->arrays_bytes(), {}};
  for (std::size_t g = 0; g < slot.slices.size(); ++g) {
    on.groups.push_back({slot.slices[g].data(), on_device(slot, g, pass)});
  }
  ops_.begin(std::move(on));
  return {slot.ids, slot.positions, slot.groups, slot.logit_rows, pass.decode, pass.step_queries};
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

Bytes CudaBackend::staging_bytes() const {
  Bytes bytes = upload_.pinned_bytes();
  for (const Slot& slot : slots_) bytes += slot.memory.size;
  return bytes;
}

std::int64_t CudaBackend::graph_nodes() const {
  std::int64_t nodes = 0;
  for (const auto& [kind, pass] : graphs_) nodes += pass.graph.nodes;
  return nodes;
}

}  // namespace vramplan
