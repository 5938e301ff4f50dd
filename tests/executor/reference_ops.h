#pragma once
// ReferenceOps: every operation written the shortest way, in double, one element at a time. Slow on
// purpose: the oracle of the transformer's tests. Weights: f32, f16, bf16.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/ops.h"
#include "kernels/workspace.h"

namespace vramplan {

inline float half_to_float(std::uint16_t h) {
  const int exponent = (h >> 10) & 31;
  const double mantissa = h & 1023;
  double value =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
  if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
  return static_cast<float>((h & 0x8000) != 0 ? -value : value);
}

/// Round to nearest even by trying the neighbours: no bit tricks to get wrong.
inline std::uint16_t float_to_half(float value) {
  const double magnitude = std::fabs(static_cast<double>(value));
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);
  const double steps = std::nearbyint(std::ldexp(magnitude, -unit));
  const double rounded = std::ldexp(steps, unit);
  std::uint16_t best = 0x7c00;
  if (rounded < 65520) {
    int e = 0;
    std::frexp(rounded, &e);
    if (rounded == 0)
      best = 0;
    else if (e - 1 < -14)
      best = static_cast<std::uint16_t>(std::ldexp(rounded, 24));
    else
      best = static_cast<std::uint16_t>((e + 14) * 1024 +
                                        static_cast<int>(std::ldexp(rounded, 11 - e)) - 1024);
  }
  return static_cast<std::uint16_t>(best | (std::signbit(value) ? 0x8000 : 0));
}

inline float element(const TensorView& t, std::int64_t row, std::int64_t column) {
  const auto* base = static_cast<const std::byte*>(t.data);
  const std::int64_t at = row * t.columns + column;
  std::uint16_t half = 0;
  float value = 0;
  switch (t.dtype) {
    case DType::kF32:
      std::memcpy(&value, base + at * 4, 4);
      return value;
    case DType::kF16:
      std::memcpy(&half, base + at * 2, 2);
      return half_to_float(half);
    case DType::kBF16:
      std::memcpy(&half, base + at * 2, 2);
      return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
    default:
      break;
  }
  throw Error(ErrorCode::kUnsupported, "reference operations read f32, f16 and bf16");
}

class ReferenceOps : public Ops {
 public:
  void pack(WeightView&) override { ++packed; }

  void embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
             float scale) override {
    for (std::int64_t t = 0; t < out.rows; ++t) {
      for (std::int64_t c = 0; c < out.columns; ++c) {
        at(out, t, c) = element(table.tensor, ids[static_cast<std::size_t>(t)], c) * scale;
      }
    }
  }

  void add_rows(TensorView out, const WeightView& table,
                std::span<const std::int32_t> positions) override {
    for (std::int64_t t = 0; t < out.rows; ++t) {
      for (std::int64_t c = 0; c < out.columns; ++c) {
        at(out, t, c) += element(table.tensor, positions[static_cast<std::size_t>(t)], c);
      }
    }
  }

  void rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one_plus) override {
    const std::int64_t n = weight.columns;
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t group = 0; group < x.columns; group += n) {
        double sum = 0;
        for (std::int64_t c = 0; c < n; ++c) sum += std::pow(at(x, t, group + c), 2.0);
        const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
        for (std::int64_t c = 0; c < n; ++c) {
          const double w = element(weight, 0, c) + (one_plus ? 1.0 : 0.0);
          at(out, t, group + c) = static_cast<float>(at(x, t, group + c) * scale * w);
        }
      }
    }
  }

  void layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                 float eps) override {
    const auto n = static_cast<double>(x.columns);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      double mean = 0, variance = 0;
      for (std::int64_t c = 0; c < x.columns; ++c) mean += at(x, t, c) / n;
      for (std::int64_t c = 0; c < x.columns; ++c)
        variance += std::pow(at(x, t, c) - mean, 2.0) / n;
      for (std::int64_t c = 0; c < x.columns; ++c) {
        const double b = bias.data != nullptr ? element(bias, 0, c) : 0.0;
        at(out, t, c) = static_cast<float>(
            (at(x, t, c) - mean) / std::sqrt(variance + eps) * element(weight, 0, c) + b);
      }
    }
  }

  void linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
              TensorView workspace) override {
    check(workspace, linear_workspace(in.rows, in.columns, weight.tensor.dtype));
    for (std::int64_t t = 0; t < in.rows; ++t) {
      for (std::int64_t o = 0; o < out.columns; ++o) {
        double sum = bias.data != nullptr ? element(bias, 0, o) : 0.0;
        for (std::int64_t i = 0; i < in.columns; ++i) {
          sum += static_cast<double>(at(in, t, i)) * element(weight.tensor, o, i);
        }
        at(out, t, o) = static_cast<float>(sum);
      }
    }
  }

  void rope(TensorView x, std::span<const std::int32_t> positions, const RopeParams& p) override {
    const std::int64_t half = p.rotary_dim / 2;
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t head = 0; head < x.columns; head += p.head_dim) {
        for (std::int64_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(positions[static_cast<std::size_t>(t)]) *
                               static_cast<double>(p.inverse_frequency[i]);
          const double c = std::cos(angle) * p.magnitude, s = std::sin(angle) * p.magnitude;
          float& a = at(x, t, head + (p.interleaved ? 2 * i : i));
          float& b = at(x, t, head + (p.interleaved ? 2 * i + 1 : i + half));
          const double first = a, second = b;
          a = static_cast<float>(first * c - second * s);
          b = static_cast<float>(first * s + second * c);
        }
      }
    }
  }

  void kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                std::span<const std::int64_t> slots) override {
    for (std::int64_t t = 0; t < k.rows; ++t) {
      const std::int64_t slot = slots[static_cast<std::size_t>(t)];
      for (std::int64_t head = 0; head < kv.kv_heads; ++head) {
        for (std::int64_t d = 0; d < kv.head_dim; ++d)
          store(kv, slot, head, d, false, at(k, t, head * kv.head_dim + d));
        for (std::int64_t d = 0; d < kv.value_dim; ++d)
          store(kv, slot, head, d, true, at(v, t, head * kv.value_dim + d));
      }
    }
  }

  void attention(TensorView out, TensorView q, const KvLayerView& kv,
                 std::span<const SequenceSlice> slices, const AttentionParams& p,
                 TensorView workspace) override {
    check(workspace, attention_workspace(slices, kv, p));
    for (const SequenceSlice& slice : slices) {
      for (std::int64_t j = 0; j < slice.query_count; ++j) {
        for (std::int64_t head = 0; head < p.heads; ++head) attend(out, q, kv, slice, p, j, head);
      }
    }
  }

  void gated_activation(TensorView gate, TensorView up, GateKind kind) override {
    for (std::int64_t t = 0; t < gate.rows; ++t) {
      for (std::int64_t c = 0; c < gate.columns; ++c) {
        const double g = activated(at(gate, t, c), kind);
        at(gate, t, c) = static_cast<float>(up.data != nullptr ? g * at(up, t, c) : g);
      }
    }
  }

  void add(TensorView x, TensorView y) override {
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t c = 0; c < x.columns; ++c) at(x, t, c) += at(y, t, c);
    }
  }

  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override {
    for (std::int64_t t = 0; t < out.rows; ++t) {
      for (std::int64_t c = 0; c < out.columns; ++c)
        at(out, t, c) = at(x, rows[static_cast<std::size_t>(t)], c);
    }
  }

  void softcap(TensorView x, float cap) override {
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t c = 0; c < x.columns; ++c) at(x, t, c) = cap * std::tanh(at(x, t, c) / cap);
    }
  }

  Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                         DType weight) const override {
    return cpu::linear_workspace(tokens, in_features, weight, DType::kI8, 1);
  }
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override {
    return cpu::attention_workspace(slices, kv.value_dim, params, 1);
  }

  int packed = 0;

 private:
  static float& at(const TensorView& t, std::int64_t row, std::int64_t column) {
    return static_cast<float*>(t.data)[row * t.columns + column];
  }

  static void check(const TensorView& workspace, Bytes needed) {
    VRAMPLAN_CHECK(workspace.bytes() >= needed);
    if (needed.n > 0) std::memset(workspace.data, 0xff, static_cast<std::size_t>(needed.n));
  }

  static std::byte* cell(const KvLayerView& kv, std::int64_t slot, std::int64_t head,
                         std::int64_t d, bool value) {
    const std::int64_t width = value ? kv.value_dim : kv.head_dim;
    const std::int64_t size = kv.dtype == DType::kF32 ? 4 : 2;
    const std::int64_t row = head * kv.block_tokens + slot % kv.block_tokens;
    return kv.base + slot / kv.block_tokens * kv.block_stride + (value ? kv.value_offset : 0) +
           (row * width + d) * size;
  }

  static void store(const KvLayerView& kv, std::int64_t slot, std::int64_t head, std::int64_t d,
                    bool value, float x) {
    std::byte* const to = cell(kv, slot, head, d, value);
    if (kv.dtype == DType::kF32) {
      std::memcpy(to, &x, 4);
      return;
    }
    const auto bits = std::bit_cast<std::uint32_t>(x);
    const std::uint16_t half =
        kv.dtype == DType::kF16
            ? float_to_half(x)
            : static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    std::memcpy(to, &half, 2);
  }

  static double load(const KvLayerView& kv, std::int64_t slot, std::int64_t head, std::int64_t d,
                     bool value) {
    TensorView one{cell(kv, slot, head, d, value), kv.dtype, 1, 1};
    return element(one, 0, 0);
  }

  static void attend(const TensorView& out, const TensorView& q, const KvLayerView& kv,
                     const SequenceSlice& slice, const AttentionParams& p, std::int64_t j,
                     std::int64_t head) {
    const std::int64_t row = slice.query_begin + j;
    const std::int64_t own = slice.kv_length - slice.query_count + j;
    const std::int64_t kv_head = head / (p.heads / kv.kv_heads);
    const std::int64_t first =
        p.window_tokens > 0 ? std::max<std::int64_t>(0, own - p.window_tokens + 1) : 0;
    const auto slot = [&](std::int64_t token) {
      return slice.block_table[token / kv.block_tokens] * kv.block_tokens + token % kv.block_tokens;
    };
    std::vector<double> scores;
    std::vector<std::int64_t> seen;
    for (std::int64_t token = 0; token <= own; ++token) {
      if (token < first && token >= p.sink_tokens) continue;
      seen.push_back(token);
      double score = 0;
      const TensorView& query = token < p.sink_tokens ? p.sink_q : q;
      for (std::int64_t d = 0; d < kv.head_dim; ++d) {
        score += static_cast<double>(at(query, row, head * kv.head_dim + d)) *
                 load(kv, slot(token), kv_head, d, false);
      }
      score *= p.scale;
      if (p.softcap > 0) score = p.softcap * std::tanh(score / p.softcap);
      scores.push_back(score);
    }
    const double highest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - highest);
    for (std::size_t i = 0; i < seen.size() && slice.block_mass != nullptr; ++i) {
      slice.block_mass[seen[i] / kv.block_tokens] += std::llround(scores[i] / sum * 4294967296.0);
    }
    for (std::int64_t d = 0; d < kv.value_dim; ++d) {
      double value = 0;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        value += scores[i] / sum * load(kv, slot(seen[i]), kv_head, d, true);
      }
      at(out, row, head * kv.value_dim + d) = static_cast<float>(value);
    }
  }

  static double activated(double x, GateKind kind) {
    switch (kind) {
      case GateKind::kSilu:
        return x / (1 + std::exp(-x));
      case GateKind::kGelu:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case GateKind::kGeluTanh:
        return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
      case GateKind::kRelu:
        return std::max(0.0, x);
    }
    return x;
  }
};

}  // namespace vramplan
