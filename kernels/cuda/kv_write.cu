#include "kernels/cuda/kv_write.cuh"

#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

void check_rope(TensorView x, const DeviceRope& rope) {
  VRAMPLAN_CHECK(rope.head_dim > 0 && x.columns % rope.head_dim == 0);
  VRAMPLAN_CHECK(rope.rotary_dim % 2 == 0 && rope.rotary_dim <= rope.head_dim);
  VRAMPLAN_CHECK(x.columns <= (1 << 24));
}

void check_kv(const KvLayerView& kv, TensorView k, TensorView v) {
  VRAMPLAN_CHECK(k.columns == kv.kv_heads * kv.head_dim && v.columns == kv.kv_heads * kv.value_dim);
  VRAMPLAN_CHECK(k.rows == v.rows && k.dtype == v.dtype);
  check_kv_width("kv_write", kv.dtype, kv.head_dim);
  check_kv_width("kv_write", kv.dtype, kv.value_dim);
  VRAMPLAN_CHECK(kv.block_tokens > 0 && k.columns <= (1 << 24) && v.columns <= (1 << 24));
}

}  // namespace

void rope(Stream stream, TensorView x, const std::int32_t* positions, const DeviceRope& rope) {
  check_rope(x, rope);
  if (x.rows == 0 || rope.rotary_dim == 0) return;
  with_activation("rope", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("rope", &rope_kernel<T>, extent("rope", x.rows), 128, 0, stream,
                static_cast<T*>(x.data), x.columns, positions, rope);
  });
}

void kv_write(Stream stream, const KvLayerView& kv, TensorView k, TensorView v,
              const std::int64_t* slots) {
  check_kv(kv, k, v);
  if (k.rows == 0) return;
  with_activation("kv_write", k.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_kv("kv_write", kv.dtype, [&](auto cache) {
      using C = typename decltype(cache)::type;
      dev::launch("kv_write", &kv_write_kernel<T, C>, extent("kv_write", k.rows), 128, 0, stream,
                  kv, static_cast<const T*>(k.data), static_cast<const T*>(v.data), slots);
    });
  });
}

void rope_kv_write(Stream stream, TensorView q, TensorView k, TensorView v,
                   const std::int32_t* positions, const DeviceRope& rope, const KvLayerView& kv,
                   const std::int64_t* slots) {
  check_rope(q, rope);
  check_rope(k, rope);
  check_kv(kv, k, v);
  VRAMPLAN_CHECK(q.rows == k.rows && q.dtype == k.dtype);
  if (k.rows == 0) return;
  with_activation("rope_kv_write", k.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_kv("rope_kv_write", kv.dtype, [&](auto cache) {
      using C = typename decltype(cache)::type;
      dev::launch("rope_kv_write", &rope_kv_write_kernel<T, C>, extent("rope_kv_write", k.rows),
                  128, 0, stream, static_cast<T*>(q.data), q.columns, static_cast<T*>(k.data),
                  static_cast<const T*>(v.data), positions, rope, kv, slots);
    });
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
