// Of GpuBench: attention over caches of every kind, and writing to them.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "executor/calibrate_gpu_ops.h"
#include "kernels/cuda/workspace.h"

namespace vramplan {
namespace {

std::string heads_text(const AttentionHeads& heads) {
  return std::to_string(heads.heads) + "/" + std::to_string(heads.kv_heads) + " heads x " +
         std::to_string(heads.head_dim);
}

/// A pool of blocks that hold nothing but this layer.
KvLayerView one_layer(DType format, const AttentionHeads& heads, std::int64_t block_tokens,
                      std::int64_t blocks) {
  KvLayerView kv;
  kv.dtype = format;
  kv.block_tokens = block_tokens;
  kv.kv_heads = heads.kv_heads;
  kv.head_dim = kv.value_dim = heads.head_dim;
  kv.value_offset = (kv_row_bytes(format, heads.head_dim) * (block_tokens * heads.kv_heads)).n;
  kv.block_stride = 2 * kv.value_offset;
  kv.block_count = blocks;
  return kv;
}

Bytes bytes_of_layer(const KvLayerView& kv) { return Bytes{kv.block_stride} * kv.block_count; }

AttentionShape shape_of(DType kv, const AttentionHeads& heads) {
  AttentionShape shape;
  shape.heads = heads.heads;
  shape.kv_heads = heads.kv_heads;
  shape.head_dim = shape.value_dim = heads.head_dim;
  shape.kv = kv;
  shape.activation = GpuBench::kActivations;
  return shape;
}

OpWork times(OpWork work, std::int64_t sequences) {
  for (double* sum : {&work.bytes, &work.flops}) *sum *= static_cast<double>(sequences);
  return work;
}

AttentionParams params_of(const AttentionHeads& heads) {
  AttentionParams params;
  params.heads = heads.heads;
  params.scale = 0.1F;
  return params;
}

}  // namespace

/// The lists of `sequences` slices alike, in device memory from entry `first` of the lists on;
/// blocks in order, no two sequences share one.
cuda::DeviceSlices GpuBench::alike(std::size_t& first, const SequenceSlice& slice,
                                   std::int64_t block_tokens, std::int64_t sequences) {
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(slice.kv_length, block_tokens));
  const auto count = static_cast<std::size_t>(sequences);
  const std::size_t size = 3 * count + count * static_cast<std::size_t>(blocks);
  if (lists_.size() < first + size) lists_.resize(first + size);
  std::int32_t* const list = lists_.data() + first;
  for (std::size_t s = 0; s < count; ++s) {
    list[s] = static_cast<std::int32_t>(static_cast<std::int64_t>(s) * slice.query_count);
    list[count + s] = static_cast<std::int32_t>(slice.query_count);
    list[2 * count + s] = static_cast<std::int32_t>(slice.kv_length);
  }
  std::iota(list + 3 * count, list + size, 0);
  const TensorView lists = tensor(kLists, DType::kI32, 1, static_cast<std::int64_t>(first + size));
  const auto* const on_device = static_cast<const std::int32_t*>(lists.data) + first;
  cuda::DeviceSlices on;
  on.count = sequences;
  on.query_begin = on_device;
  on.query_count = on_device + count;
  on.kv_length = on_device + 2 * count;
  on.block_tables = on_device + 3 * count;
  on.blocks_per_row = blocks;
  on.most_queries = slice.query_count;
  on.most_kv = slice.kv_length;
  first += size;
  return on;
}

void GpuBench::send_lists() {
  const auto count = static_cast<std::int64_t>(lists_.size());
  const TensorView lists = tensor(kLists, DType::kI32, 1, count);
  runtime_.copy(stream_, lists.data, lists_.data(), lists.bytes(), cuda::CopyKind::kToDevice);
  runtime_.synchronize(stream_);
}

GpuPoint GpuBench::attention(DType kv_format, AttentionHeads heads, std::int64_t queries,
                             std::int64_t kv_length, std::int64_t sequences, bool mass) {
  const std::int64_t rows = queries * sequences;
  const TensorView q = tensor(0, kActivations, rows, heads.heads * heads.head_dim);
  const TensorView out = tensor(1, kActivations, rows, heads.heads * heads.head_dim);
  const AttentionParams params = params_of(heads);
  std::size_t first = 0;
  const SequenceSlice slice{0, queries, kv_length, nullptr};
  cuda::DeviceSlices on = alike(first, slice, kBlockTokens, sequences);
  send_lists();
  KvLayerView kv = one_layer(kv_format, heads, kBlockTokens, on.blocks_per_row * sequences);
  if (mass) {
    on.block_mass =
        static_cast<std::int64_t*>(tensor(kMass, DType::kI64, sequences, on.blocks_per_row).data);
  }
  const std::vector<SequenceSlice> slices(static_cast<std::size_t>(sequences), slice);
  const Bytes scratch =
      mass ? Bytes{} : cuda::attention_workspace(slices, kv, params, kv_length, multiprocessors_);
  const TensorView workspace = tensor(2, DType::kI8, 1, scratch.n);
  AttentionShape shape = shape_of(kv_format, heads);
  shape.mass = mass;
  GpuPoint point{times(attention_work(shape, queries, kv_length), sequences),
                 heads_text(heads) + ", " + gpu_shape_text(sequences, queries) + " over " +
                     std::to_string(kv_length),
                 0};
  point.seconds = time([&](std::int64_t call) {
    kv.base = stretch(bytes_of_layer(kv), call);
    if (mass)
      kernels_.attention_mass(stream_, out, q, kv, on, params);
    else if (queries == 1)
      kernels_.attention_decode(stream_, out, q, kv, on, params, workspace);
    else
      kernels_.attention_prefill(stream_, out, q, kv, on, params);
  });
  return point;
}

GpuPoint GpuBench::attention_history(DType format, AttentionHeads heads, std::int64_t queries,
                                     std::int64_t kv_length, std::int64_t sequences,
                                     std::int64_t stride) {
  AttentionShape shape = shape_of(format, heads);
  shape.residual_tokens = kResidualTokens;
  shape.history_stride = stride;
  const std::int64_t packed = packed_tokens(Tokens{kv_length}, Tokens{kResidualTokens}).n;
  const std::int64_t rows = queries * sequences;
  const TensorView q = tensor(0, kActivations, rows, heads.heads * heads.head_dim);
  const TensorView out = tensor(1, kActivations, rows, heads.heads * heads.head_dim);
  const SequenceSlice slice{0, queries, kv_length - packed, nullptr};
  std::size_t first = 0;
  const cuda::DeviceSlices on = alike(first, slice, kResidualBlockTokens, sequences);
  cuda::DeviceSlices behind =
      alike(first, {0, queries, packed / stride, nullptr}, kResidualBlockTokens, sequences);
  send_lists();
  KvLayerView recent =
      one_layer(DType::kF16, heads, kResidualBlockTokens, on.blocks_per_row * sequences);
  KvLayerView history =
      one_layer(format, heads, kResidualBlockTokens, behind.blocks_per_row * sequences);
  AttentionParams params = params_of(heads);
  params.history = &history;
  const std::vector<SequenceSlice> slices(static_cast<std::size_t>(sequences), slice);
  const TensorView workspace =
      tensor(2, DType::kI8, 1,
             cuda::attention_workspace(slices, recent, params, kv_length, multiprocessors_).n);
  GpuPoint point{times(attention_work(shape, queries, kv_length), sequences),
                 heads_text(heads) + ", " + gpu_shape_text(sequences, queries) + " over " +
                     std::to_string(kv_length) + " of which every " + std::to_string(stride) +
                     ". beyond " + std::to_string(kResidualTokens),
                 0};
  const Bytes old = round_up(bytes_of_layer(history), Bytes{256});
  point.seconds = time([&](std::int64_t call) {
    history.base = stretch(old + bytes_of_layer(recent), call);
    recent.base = history.base + old.n;
    if (queries == 1) {
      kernels_.attention_decode_history(stream_, out, q, recent, on, history, behind, params,
                                        workspace);
    } else {
      kernels_.attention_prefill_history(stream_, out, q, recent, on, history, behind, params);
    }
  });
  return point;
}

GpuPoint GpuBench::kv_pack(DType format, AttentionHeads heads, std::int64_t blocks,
                           std::int64_t stride) {
  const std::int64_t kept = kResidualBlockTokens / stride;
  KvLayerView recent = one_layer(DType::kF16, heads, kResidualBlockTokens, blocks);
  KvLayerView history = one_layer(format, heads, kResidualBlockTokens, blocks);
  std::vector<KvPack> packs;
  for (std::int64_t i = 0; i < blocks; ++i) {
    packs.push_back({static_cast<std::int32_t>(i), i * kept});
  }
  lists_.assign(static_cast<std::size_t>(4 * blocks), 0);
  std::memcpy(lists_.data(), packs.data(), packs.size() * sizeof(KvPack));
  send_lists();
  const auto* const on_device =
      static_cast<const KvPack*>(tensor(kLists, DType::kI32, 1, 4 * blocks).data);
  GpuPoint point{kv_pack_work(static_cast<double>(blocks), 2 * heads.kv_heads * heads.head_dim,
                              2 * heads.kv_heads, format, stride),
                 heads_text(heads) + ", " + std::to_string(blocks) + " blocks", 0};
  const Bytes old = round_up(bytes_of_layer(history), Bytes{256});
  point.seconds = time([&](std::int64_t call) {
    history.base = stretch(old + bytes_of_layer(recent), call);
    recent.base = history.base + old.n;
    kernels_.kv_pack(stream_, history, recent, on_device, blocks, stride);
  });
  return point;
}

GpuPoint GpuBench::kv_write(DType kv_format, AttentionHeads heads, std::int64_t tokens) {
  const std::int64_t width = heads.kv_heads * heads.head_dim;
  const TensorView k = tensor(0, kActivations, tokens, width);
  const TensorView v = tensor(1, kActivations, tokens, width);
  KvLayerView kv = one_layer(kv_format, heads, kBlockTokens, ceil_div(tokens, kBlockTokens));
  const IndexArrays& a = workspace_->arrays();
  auto* const slots = reinterpret_cast<std::int64_t*>(
      shadow_.data() +
      (static_cast<std::byte*>(a.groups.front().slots.data) - static_cast<std::byte*>(a.ids.data)));
  for (std::int64_t t = 0; t < tokens; ++t) slots[t] = t;
  runtime_.copy(stream_, a.groups.front().slots.data, slots, Bytes{8} * tokens,
                cuda::CopyKind::kToDevice);
  GpuPoint point{kv_write_work(tokens, 2 * width, 2 * heads.kv_heads, kActivations, kv_format),
                 heads_text(heads) + ", " + std::to_string(tokens), 0};
  const Bytes bytes = Bytes{kv.block_stride} * kv.block_count;
  point.seconds = time([&](std::int64_t call) {
    kv.base = stretch(bytes, call);
    kernels_.kv_write(stream_, kv, k, v,
                      static_cast<const std::int64_t*>(a.groups.front().slots.data));
  });
  return point;
}

}  // namespace vramplan
