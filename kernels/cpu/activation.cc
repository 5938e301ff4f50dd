// gated_activation and softcap: element by element.
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/math.h"

namespace vramplan::cpu {
namespace {

/// erf to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26.
Vf erf_of(Vf x) {
  const Vf magnitude = max(x, zero() - x);
  const Vf t = set1(1.0F) / fma(magnitude, set1(0.3275911F), set1(1.0F));
  Vf p = set1(1.061405429F);
  p = fma(p, t, set1(-1.453152027F));
  p = fma(p, t, set1(1.421413741F));
  p = fma(p, t, set1(-0.284496736F));
  p = fma(p, t, set1(0.254829592F));
  const Vf y = set1(1.0F) - p * t * exp(zero() - x * x);
  return x < zero() ? zero() - y : y;
}

Vf activate(GateKind kind, Vf x) {
  switch (kind) {
    case GateKind::kSilu:
      return x / (set1(1.0F) + exp(zero() - x));
    case GateKind::kGelu:
      return set1(0.5F) * x * (set1(1.0F) + erf_of(x * set1(0.70710678F)));
    case GateKind::kGeluTanh: {
      const Vf cube = x * x * x;
      const Vf inner = set1(0.79788456F) * fma(cube, set1(0.044715F), x);
      return set1(0.5F) * x * (set1(1.0F) + tanh(inner));
    }
    default:
      return x < zero() ? zero() : x;  // relu; NaN stays
  }
}

/// y[i] = function(x[i], ...) for a run of elements: vectors, then a padded tail.
template <class Function>
void map_in_place(float* x, const float* other, std::int64_t n, const Function& function) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(x + i, function(load(x + i), other == nullptr ? set1(1.0F) : load(other + i)));
  }
  if (i == n) return;
  float a[kLanes] = {}, b[kLanes] = {};
  for (std::int64_t k = i; k < n; ++k) {
    a[k - i] = x[k];
    b[k - i] = other == nullptr ? 1.0F : other[k];
  }
  store(a, function(load(a), load(b)));
  for (std::int64_t k = i; k < n; ++k) x[k] = a[k - i];
}

}  // namespace

void CpuOps::gated_activation(TensorView gate, TensorView up, GateKind kind) {
  const bool gated = up.data != nullptr;
  VRAMPLAN_CHECK(!gated || (gate.rows == up.rows && gate.columns == up.columns));
  float* g = f32_data(gate);
  const float* u = gated ? f32_data(up) : nullptr;
  // An exponential costs about as much as four plain element operations.
  for_rows(gate.rows, gate.columns * 4, [&](std::int64_t first, std::int64_t last) {
    const std::int64_t at = first * gate.columns, n = (last - first) * gate.columns;
    const auto run = [&](auto function) {
      map_in_place(g + at, u == nullptr ? nullptr : u + at, n, function);
    };
    switch (kind) {
      case GateKind::kSilu:
        return run([](Vf x, Vf y) { return activate(GateKind::kSilu, x) * y; });
      case GateKind::kGelu:
        return run([](Vf x, Vf y) { return activate(GateKind::kGelu, x) * y; });
      case GateKind::kGeluTanh:
        return run([](Vf x, Vf y) { return activate(GateKind::kGeluTanh, x) * y; });
      case GateKind::kRelu:
        return run([](Vf x, Vf y) { return activate(GateKind::kRelu, x) * y; });
    }
  });
}

void CpuOps::softcap(TensorView x, float cap) {
  VRAMPLAN_CHECK(cap > 0.0F);
  float* data = f32_data(x);
  for_rows(x.rows, x.columns * 4, [&](std::int64_t first, std::int64_t last) {
    map_in_place(data + first * x.columns, nullptr, (last - first) * x.columns,
                 [cap](Vf v, Vf) { return set1(cap) * tanh(v / set1(cap)); });
  });
}

}  // namespace vramplan::cpu
