#include "planner/gpu_account.h"

#include <algorithm>
#include <tuple>

#include "planner/forward_work.h"
#include "planner/kv_groups.h"
#include "planner/preemption.h"
#include "planner/speculation.h"

namespace vramplan {
namespace {

constexpr Bytes kAlignment{256};
constexpr std::int64_t kPackBytes = 16;  // a block of the window, and its place in the history

Bytes rounded(std::int64_t count, std::int64_t each) {
  return round_up(Bytes{each} * count, kAlignment);
}

Bytes f32_copy(const WeightTensor& tensor) {
  const bool wide = tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16;
  if (tensor.part != Part::kVector || !wide) return {};
  return round_up(bytes_of(DType::kF32, tensor.rows, tensor.columns), kAlignment);
}

Bytes rope_tables(const RankModel& model) {
  const auto key = [](const Mixer& m) {
    const Rope& r = m.rope;
    return std::make_tuple(m.head_dim, r.theta, r.rotary_dim, r.interleaved, r.scaling, r.factor,
                           r.low_freq_factor, r.high_freq_factor, r.original_context);
  };
  std::vector<const Mixer*> seen;
  Bytes bytes;
  for (const LayerKind& kind : model.kinds) {
    const Mixer& mixer = kind.layer.mixer;
    if (mixer.kind == MixerKind::kNone || mixer.rope.rotary_dim == 0) continue;
    const bool known = std::any_of(seen.begin(), seen.end(),
                                   [&](const Mixer* m) { return key(*m) == key(mixer); });
    if (known) continue;
    seen.push_back(&mixer);
    bytes += rounded(mixer.rope.rotary_dim / 2, 4);
  }
  return bytes;
}

Bytes f32_copies(const RankModel& model) {
  Bytes bytes;
  for (const WeightTensor& tensor : model.outside) bytes += f32_copy(tensor);
  for (const LayerKind& kind : model.kinds) {
    for (const WeightTensor& tensor : kind.tensors) bytes += f32_copy(tensor) * kind.count;
  }
  return bytes;
}

/// Kernels of a decode step of one sequence.
std::int64_t step_calls(const RankModel& model, const DeviceCard& device,
                        const Decisions& decisions) {
  std::int64_t calls = 0;
  const std::int64_t rows = model.shape.head ? 1 : 0;
  for (const OpWork& work : forward_work(model, decisions, {1, rows, 1, 1}, device.kind)) {
    const bool drawn = work.op == OpKind::kSample || work.op == OpKind::kSampleBeams;
    if (drawn) continue;  // after the graph
    calls += work.calls * gpu_kernels_of(work.op);
  }
  return calls;
}

Bytes table_bytes(const KvKeep& keep, const Decisions& decisions) {
  const std::int64_t blocks = table_blocks(decisions, keep).n;
  return Bytes{4} * detail::checked_mul(decisions.batch, blocks);
}

}  // namespace

GpuAccount gpu_account(const RankModel& model, const DeviceCard& device,
                       const Decisions& decisions) {
  GpuAccount gpu;
  gpu.multiprocessors = static_cast<int>(std::max<std::int64_t>(1, device.multiprocessors.value));
  gpu.gemm = {device.workspace_bytes.value};
  gpu.graph_node = {device.graph_node_bytes.value};
  gpu.vectors = f32_copies(model);
  gpu.rope = rope_tables(model);
  for (const KvGroupBytes& group : kv_group_bytes(model, decisions))
    gpu.groups.push_back(group.keep);
  if (gpu.groups.empty()) gpu.groups.push_back({});
  if (gpu.groups.back().history) gpu.groups.push_back(decisions.kv_residual.keep());
  gpu.decode_calls = step_calls(model, device, decisions);
  return gpu;
}

void add_draft(GpuAccount& gpu, const RankModel& draft, const DeviceCard& device,
               const Decisions& decisions) {
  gpu.vectors += f32_copies(draft);
  gpu.rope += rope_tables(draft);
  gpu.draft_calls = step_calls(draft, device, draft_decisions(decisions));
}

Bytes pass_array_bytes(const GpuAccount& gpu, const Decisions& decisions) {
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  const std::int64_t step = decisions.batch * (most_guesses(decisions) + 1);
  const std::int64_t tokens = std::max(std::min(decisions.prefill_chunk.n, prompt), step);
  const auto groups = static_cast<std::int64_t>(gpu.groups.size());
  Bytes bytes = rounded(tokens, 4) * 5 + rounded(tokens, 8) * groups +
                rounded(decisions.batch, 4) * (2 + groups);
  for (const KvKeep& keep : gpu.groups) {
    bytes += round_up(table_bytes(keep, decisions), kAlignment);
    if (keep.sinks.n > 0) bytes += rounded(tokens, 4);
    if (keep.budget.n > 0) bytes += round_up(table_bytes(keep, decisions) * 2, kAlignment);
    if (!keep.recent) continue;
    const std::int64_t chunk = std::min(decisions.prefill_chunk.n, prompt);
    bytes += rounded(std::max(ceil_div(chunk, kResidualBlock.n), decisions.batch), kPackBytes);
  }
  return bytes;
}

Bytes index_bytes(const GpuAccount& gpu, const Decisions& decisions) {
  return pass_array_bytes(gpu, decisions) + gpu.rope;
}

Bytes staging_bytes(const GpuAccount& gpu, const Decisions& decisions) {
  // The last array needs no room behind it; the others begin at multiples of 256 B.
  const Bytes last = table_bytes(gpu.groups.back(), decisions);
  const Bytes arrays = pass_array_bytes(gpu, decisions) - round_up(last, kAlignment) + last;
  return arrays * kStagedPasses + kUploadBytes;
}

Bytes graph_bytes(const GpuAccount& gpu, const Decisions& decisions) {
  if (!captures_steps(decisions)) return {};
  std::int64_t graphs = decisions.output.n >= 3 ? 1 : 0;
  if (decisions.preempt != Preempt::kNone) {
    graphs = 0;
    for (const auto& [rows, steps] : replay_preemption(decisions).captured_steps(decisions.batch)) {
      graphs += steps >= 2 ? 1 : 0;
    }
  }
  const std::int64_t drafts =
      gpu.draft_calls == 0 ? 0 : std::min<std::int64_t>(2, most_guesses(decisions));
  return round_up(gpu.graph_node * gpu.decode_calls, kGpuPage) * graphs +
         round_up(gpu.graph_node * gpu.draft_calls, kGpuPage) * drafts;
}

}  // namespace vramplan
