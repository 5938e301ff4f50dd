#include "tests/fake_cuda/host_kernels.h"

#include <algorithm>

#include "executor/rng.h"
#include "executor/sampler.h"
#include "tests/fake_cuda/host_linear.h"
#include "tests/fake_cuda/host_values.h"

namespace vramplan::cuda {
namespace host {
namespace {

void embed(Stream stream, TensorView out, TensorView table, const std::int32_t* ids, float scale) {
  later(stream, [=] {
    Values o(out, false);
    math().embed(o.view(), {table, 0}, span_of(ids, out.rows), scale);
    o.done();
  });
}

void add_rows(Stream stream, TensorView out, TensorView table, const std::int32_t* positions) {
  later(stream, [=] {
    Values o(out);
    math().add_rows(o.view(), {table, 0}, span_of(positions, out.rows));
    o.done();
  });
}

void rmsnorm(Stream stream, TensorView out, TensorView x, TensorView weight, float eps,
             bool one_plus) {
  later(stream, [=] {
    VRAMPLAN_CHECK(weight.dtype == DType::kF32);
    Values o(out, false), in(x);
    math().rmsnorm(o.view(), in.view(), weight, eps, one_plus);
    o.done();
  });
}

void layernorm(Stream stream, TensorView out, TensorView x, TensorView weight, TensorView bias,
               float eps) {
  later(stream, [=] {
    Values o(out, false), in(x);
    math().layernorm(o.view(), in.view(), weight, bias, eps);
    o.done();
  });
}

void rope_now(TensorView x, const std::int32_t* positions, const DeviceRope& r) {
  Values values(x);
  math().rope(values.view(), span_of(positions, x.rows),
              {r.head_dim, r.rotary_dim, r.interleaved, r.inverse_frequency, r.magnitude});
  values.done();
}

void rope(Stream stream, TensorView x, const std::int32_t* positions, const DeviceRope& r) {
  later(stream, [=] { rope_now(x, positions, r); });
}

void kv_write_now(const KvLayerView& kv, TensorView k, TensorView v, const std::int64_t* slots) {
  Values keys(k), values(v);
  TensorView one_k = keys.view(), one_v = values.view();
  one_k.rows = one_v.rows = 1;
  for (std::int64_t t = 0; t < k.rows; ++t) {
    if (slots[t] >= 0) math().kv_write(kv, one_k, one_v, span_of(slots + t, 1));
    one_k.data = static_cast<float*>(one_k.data) + k.columns;
    one_v.data = static_cast<float*>(one_v.data) + v.columns;
  }
}

void kv_write(Stream stream, const KvLayerView& kv, TensorView k, TensorView v,
              const std::int64_t* slots) {
  later(stream, [=] { kv_write_now(kv, k, v, slots); });
}

void rope_kv_write(Stream stream, TensorView q, TensorView k, TensorView v,
                   const std::int32_t* positions, const DeviceRope& r, const KvLayerView& kv,
                   const std::int64_t* slots) {
  later(stream, [=] {
    rope_now(q, positions, r);
    rope_now(k, positions, r);
    kv_write_now(kv, k, v, slots);
  });
}

/// Packs of no block do nothing.
void kv_pack(Stream stream, const KvLayerView& history, const KvLayerView& recent,
             const KvPack* packs, std::int64_t count, std::int64_t stride) {
  later(stream, [=] {
    std::vector<KvPack> given;
    for (const KvPack& pack : span_of(packs, count)) {
      if (pack.recent_block >= 0) given.push_back(pack);
    }
    math().kv_pack(history, recent, given, stride);
  });
}

std::vector<SequenceSlice> slices_of(const KvLayerView& kv, const DeviceSlices& d) {
  VRAMPLAN_CHECK(d.most_kv <= d.blocks_per_row * kv.block_tokens);
  std::vector<SequenceSlice> slices;
  for (std::int64_t s = 0; s < d.count; ++s) {
    VRAMPLAN_CHECK(d.query_count[s] <= d.most_queries && d.kv_length[s] <= d.most_kv);
    slices.push_back({d.query_begin[s], d.query_count[s], d.kv_length[s],
                      d.block_tables + s * d.blocks_per_row});
  }
  return slices;
}

void attend_now(TensorView out, TensorView q, const KvLayerView& kv,
                const std::vector<SequenceSlice>& slices, AttentionParams params) {
  Values o(out, false), in(q), sinks(params.sink_q);
  params.sink_q = sinks.view();
  std::vector<std::byte> scratch(
      static_cast<std::size_t>(math().attention_workspace(slices, kv, params).n));
  math().attention(o.view(), in.view(), kv, slices, params,
                   {scratch.data(), DType::kI8, 1, static_cast<std::int64_t>(scratch.size())});
  o.done();
}

void attend(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
            const DeviceSlices& d, const AttentionParams& params) {
  later(stream, [=] { attend_now(out, q, kv, slices_of(kv, d), params); });
}

void attend_both(Stream stream, TensorView out, TensorView q, const KvLayerView& recent,
                 const DeviceSlices& slices, const KvLayerView& history, const DeviceSlices& behind,
                 const AttentionParams& given) {
  later(stream, [=] {
    const std::vector<SequenceSlice> old = slices_of(history, behind);
    AttentionParams params = given;
    params.history = &history;
    params.history_slices = old;
    attend_now(out, q, recent, slices_of(recent, slices), params);
  });
}

void attention_decode_history(Stream stream, TensorView out, TensorView q,
                              const KvLayerView& recent, const DeviceSlices& slices,
                              const KvLayerView& history, const DeviceSlices& behind,
                              const AttentionParams& params, TensorView workspace) {
  VRAMPLAN_CHECK(workspace.bytes() >=
                 Bytes{4} * params.heads * slices.count * 4 * (recent.value_dim + 2));
  attend_both(stream, out, q, recent, slices, history, behind, params);
}

void attention_prefill_history(Stream stream, TensorView out, TensorView q,
                               const KvLayerView& recent, const DeviceSlices& slices,
                               const KvLayerView& history, const DeviceSlices& behind,
                               const AttentionParams& params) {
  attend_both(stream, out, q, recent, slices, history, behind, params);
}

void attention_decode(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                      const DeviceSlices& slices, const AttentionParams& params,
                      TensorView workspace) {
  VRAMPLAN_CHECK(workspace.data != nullptr && slices.most_queries == 1);
  attend(stream, out, q, kv, slices, params);
}

void attention_prefill(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                       const DeviceSlices& slices, const AttentionParams& params) {
  attend(stream, out, q, kv, slices, params);
}

void attention_mass(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                    const DeviceSlices& d, const AttentionParams& params) {
  VRAMPLAN_CHECK(d.block_mass != nullptr);
  later(stream, [=] {
    std::vector<SequenceSlice> slices = slices_of(kv, d);
    for (std::size_t s = 0; s < slices.size(); ++s) {
      slices[s].block_mass = d.block_mass + static_cast<std::int64_t>(s) * d.blocks_per_row;
    }
    attend_now(out, q, kv, slices, params);
  });
}

void attention_naive(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                     const DeviceSlices& slices, const AttentionParams& params,
                     TensorView workspace) {
  VRAMPLAN_CHECK(workspace.bytes() >=
                 Bytes{4} * params.heads * slices.most_queries * slices.most_kv);
  attend(stream, out, q, kv, slices, params);
}

void gated_activation(Stream stream, TensorView gate, TensorView up, GateKind kind) {
  later(stream, [=] {
    Values g(gate), u(up);
    math().gated_activation(g.view(), up.data == nullptr ? TensorView{} : u.view(), kind);
    g.done();
  });
}

void add(Stream stream, TensorView x, TensorView y) {
  later(stream, [=] {
    Values a(x), b(y);
    math().add(a.view(), b.view());
    a.done();
  });
}

void add_rmsnorm(Stream stream, TensorView out, TensorView x, TensorView p, TensorView weight,
                 float eps, bool one_plus) {
  later(stream, [=] {
    Values o(out, false), sum(x), b(p);
    math().add(sum.view(), b.view());
    sum.done();
    Values rounded(x);  // the norm of what is stored
    math().rmsnorm(o.view(), rounded.view(), weight, eps, one_plus);
    o.done();
  });
}

void gather_rows(Stream stream, TensorView out, TensorView x, const std::int32_t* rows) {
  later(stream, [=] {
    Values o(out, false), in(x);
    math().gather_rows(o.view(), in.view(), span_of(rows, out.rows));
    o.done();
  });
}

void softcap(Stream stream, TensorView x, float cap) {
  later(stream, [=] {
    Values values(x);
    math().softcap(values.view(), cap);
    values.done();
  });
}

void sample(Stream stream, std::int32_t* ids, TensorView logits, const float* uniform,
            float temperature, float top_p, TensorView) {
  later(stream, [=] {
    for (std::int64_t t = 0; t < logits.rows; ++t) {
      const auto row =
          span_of(static_cast<const float*>(logits.data) + t * logits.columns, logits.columns);
      if (temperature == 0) {
        ids[t] = static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
        continue;
      }
      const auto kept = nucleus(row, static_cast<double>(temperature), static_cast<double>(top_p));
      double sum = 0;
      ids[t] = kept.back().first;
      for (const auto& [id, probability] : kept) {
        sum += probability;
        if (static_cast<double>(uniform[t]) >= sum) continue;
        ids[t] = id;
        break;
      }
    }
  });
}

void fill_random(Stream stream, TensorView out, std::uint64_t name_hash, float range) {
  later(stream, [=] {
    SplitMix64 rng(name_hash);
    Values values(out, false);
    auto* const at = static_cast<float*>(values.view().data);
    for (std::int64_t i = 0; i < out.rows * out.columns; ++i) {
      at[i] = range * (2 * static_cast<float>(rng.uniform()) - 1);
    }
    values.done();
  });
}

}  // namespace
}  // namespace host

const KernelTable& host_kernels() {
  static const KernelTable table{host::embed,
                                 host::add_rows,
                                 host::rmsnorm,
                                 host::layernorm,
                                 host::add_rmsnorm,
                                 host::linear,
                                 host::quantise_rows,
                                 host::linear_fp8,
                                 host::dequantise,
                                 host::add_bias,
                                 host::rope,
                                 host::kv_write,
                                 host::rope_kv_write,
                                 host::kv_pack,
                                 host::attention_decode,
                                 host::attention_decode_history,
                                 host::attention_prefill,
                                 host::attention_prefill_history,
                                 host::attention_mass,
                                 host::attention_naive,
                                 host::gated_activation,
                                 host::add,
                                 host::gather_rows,
                                 host::softcap,
                                 host::sample,
                                 host::fill_random};
  return table;
}

}  // namespace vramplan::cuda
