#include "executor/cuda_ops.h"

#include <algorithm>

#include "kernels/cuda/workspace.h"
#include "kernels/packed_parts.h"

namespace vramplan {

template <class T>
const T* CudaOps::on_device(std::span<const T> staged) const {
  const std::int64_t offset = reinterpret_cast<const std::byte*>(staged.data()) - pass_.staged;
  VRAMPLAN_CHECK(pass_.staged != nullptr && offset >= 0 &&
                 offset + static_cast<std::int64_t>(staged.size_bytes()) <= pass_.size.n);
  return reinterpret_cast<const T*>(pass_.device + offset);
}

void CudaOps::embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
                    float scale) {
  kernels_.embed(stream_, out, table.tensor, on_device(ids), scale);
}

void CudaOps::add_rows(TensorView out, const WeightView& table,
                       std::span<const std::int32_t> positions) {
  kernels_.add_rows(stream_, out, table.tensor, on_device(positions));
}

void CudaOps::rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one_plus) {
  kernels_.rmsnorm(stream_, out, x, weight, eps, one_plus);
}

void CudaOps::layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                        float eps) {
  kernels_.layernorm(stream_, out, x, weight, bias, eps);
}

/// Few tokens read the weight once by a GEMV; many go to the GEMM library, by way of a tile of
/// plain rows when the weight is quantised. Formats the library cannot mix stay with our kernel.
void CudaOps::linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                     TensorView workspace) {
  const DType format = weight.tensor.dtype;
  if (linear_inputs_ == DType::kF8E4M3 && has_fp8_rows(format)) {
    return fp8_linear(out, in, weight, bias, workspace);
  }
  const bool tiled = cuda::linear_workspace(in.rows, in.columns, format, in.dtype).n > 0;
  const bool plain = in.rows > cuda::kGemvTokens && format == in.dtype;
  if (!tiled && !plain) return kernels_.linear(stream_, out, in, weight, bias);
  if (tiled)
    dequantised_gemm(out, in, weight, workspace);
  else
    gemm(out, out.columns, in, weight.tensor);
  if (bias.data != nullptr) kernels_.add_bias(stream_, out, bias);
}

void CudaOps::gemm(TensorView out, std::int64_t out_stride, TensorView in, TensorView weight) {
  VRAMPLAN_CHECK(workspace_ != nullptr);
  runtime_.gemm(stream_, {out, in, weight, out_stride, workspace_->gemm()});
}

/// The factors of the weight's rows lie in the GEMM library's workspace while it is used, which so
/// loses a few pages: they take no bytes of their own.
void CudaOps::fp8_linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                         TensorView workspace) {
  const TensorView& w = weight.tensor;
  VRAMPLAN_CHECK(workspace.bytes() >= linear_workspace(in.rows, in.columns, w.dtype));
  const cuda::Fp8Input x = cuda::fp8_input_in(workspace.data, in.rows, in.columns);
  VRAMPLAN_CHECK(workspace_ != nullptr);
  const TensorView& all = workspace_->gemm();
  const Bytes factors = round_up(Bytes{4} * w.rows, Bytes{Arena::kAlignment});
  const bool shape = in.columns % 16 == 0 && w.rows % 16 == 0 && factors + factors <= all.bytes();
  if (!fp8_library_ || !shape || in.rows <= cuda::kGemvTokens) {
    kernels_.quantise_rows(stream_, x.codes, x.scales, in, nullptr, {});
    return kernels_.linear_fp8(stream_, out, x.codes, x.scales, weight, bias);
  }
  auto* const scales = static_cast<float*>(all.data);
  kernels_.quantise_rows(stream_, x.codes, x.scales, in, scales, w);
  const TensorView rest{static_cast<std::byte*>(all.data) + factors.n, DType::kI8, 1,
                        (all.bytes() - factors).n};
  const TensorView codes{w.data, DType::kF8E4M3, w.rows, w.columns};
  runtime_.gemm(stream_, {out, x.codes, codes, out.columns, rest, x.scales, scales});
  if (bias.data != nullptr) kernels_.add_bias(stream_, out, bias);
}

void CudaOps::dequantised_gemm(TensorView out, TensorView in, const WeightView& weight,
                               TensorView workspace) {
  const TensorView& w = weight.tensor;
  const std::int64_t most = cuda::tile_rows(in.columns);
  const std::int64_t row_bytes = bytes_of(w.dtype, 1, w.columns).n;
  VRAMPLAN_CHECK(workspace.bytes() >= bytes_of(in.dtype, most, in.columns));
  for (std::int64_t row = 0; row < w.rows; row += most) {
    const std::int64_t count = std::min(most, w.rows - row);
    const WeightView part{
        {static_cast<std::byte*>(w.data) + row * row_bytes, w.dtype, count, w.columns},
        weight.packing};
    const TensorView tile{workspace.data, in.dtype, count, in.columns};
    kernels_.dequantise(stream_, tile, part);
    const TensorView columns{static_cast<std::byte*>(out.data) + bytes_of(out.dtype, 1, row).n,
                             out.dtype, out.rows, count};
    gemm(columns, out.columns, in, tile);
  }
}

cuda::DeviceRope CudaOps::device_rope(const RopeParams& params) const {
  VRAMPLAN_CHECK(workspace_ != nullptr);
  const float* const table = workspace_->rope_table(params.inverse_frequency);
  VRAMPLAN_CHECK(table != nullptr);
  return {params.head_dim, params.rotary_dim, params.interleaved, table, params.magnitude};
}

void CudaOps::rope(TensorView x, std::span<const std::int32_t> positions,
                   const RopeParams& params) {
  kernels_.rope(stream_, x, on_device(positions), device_rope(params));
}

void CudaOps::rope_kv_write(TensorView q, TensorView k, TensorView v,
                            std::span<const std::int32_t> positions, const RopeParams& params,
                            const KvLayerView& kv, std::span<const std::int64_t> slots) {
  kernels_.rope_kv_write(stream_, q, k, v, on_device(positions), device_rope(params), kv,
                         on_device(slots));
}

void CudaOps::add_rmsnorm(TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                          bool one_plus) {
  kernels_.add_rmsnorm(stream_, out, x, p, weight, eps, one_plus);
}

void CudaOps::kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                       std::span<const std::int64_t> slots) {
  kernels_.kv_write(stream_, kv, k, v, on_device(slots));
}

void CudaOps::kv_pack(const KvLayerView& history, const KvLayerView& recent,
                      std::span<const KvPack> packs, std::int64_t stride) {
  kernels_.kv_pack(stream_, history, recent, on_device(packs),
                   static_cast<std::int64_t>(packs.size()), stride);
}

const cuda::DeviceSlices& CudaOps::on_device(std::span<const SequenceSlice> slices) const {
  const auto group = std::find_if(pass_.groups.begin(), pass_.groups.end(),
                                  [&](const CudaGroup& g) { return g.slices == slices.data(); });
  VRAMPLAN_CHECK(group != pass_.groups.end());
  return group->device_slices;
}

void CudaOps::attention(TensorView out, TensorView q, const KvLayerView& kv,
                        std::span<const SequenceSlice> slices, const AttentionParams& params,
                        TensorView workspace) {
  const cuda::DeviceSlices& on = on_device(slices);
  const bool decode = cuda::is_decode(slices) && !params.many_queries;
  if (params.history != nullptr) {
    const cuda::DeviceSlices& behind = on_device(params.history_slices);
    if (decode) {
      return kernels_.attention_decode_history(stream_, out, q, kv, on, *params.history, behind,
                                               params, workspace);
    }
    return kernels_.attention_prefill_history(stream_, out, q, kv, on, *params.history, behind,
                                              params);
  }
  if (on.block_mass != nullptr) {
    kernels_.attention_mass(stream_, out, q, kv, on, params);
    if (!params.naive) return;  // else the output is made once more, from all scores
  }
  if (params.naive) return kernels_.attention_naive(stream_, out, q, kv, on, params, workspace);
  if (decode) return kernels_.attention_decode(stream_, out, q, kv, on, params, workspace);
  kernels_.attention_prefill(stream_, out, q, kv, on, params);
}

void CudaOps::gated_activation(TensorView gate, TensorView up, GateKind kind) {
  kernels_.gated_activation(stream_, gate, up, kind);
}

void CudaOps::add(TensorView x, TensorView y) { kernels_.add(stream_, x, y); }

void CudaOps::gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) {
  kernels_.gather_rows(stream_, out, x, on_device(rows));
}

void CudaOps::copy(TensorView out, TensorView x) {
  VRAMPLAN_CHECK(out.bytes() == x.bytes());
  runtime_.copy(stream_, out.data, x.data, x.bytes(), cuda::CopyKind::kOnDevice);
}

void CudaOps::softcap(TensorView x, float cap) { kernels_.softcap(stream_, x, cap); }

Bytes CudaOps::linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight) const {
  return cuda::linear_workspace(tokens, in_features, weight, activations_, linear_inputs_);
}

Bytes CudaOps::attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                                   const AttentionParams& params) const {
  VRAMPLAN_CHECK(workspace_ != nullptr);
  return cuda::attention_workspace(slices, kv, params, workspace_->most_context(),
                                   multiprocessors_);
}

}  // namespace vramplan
