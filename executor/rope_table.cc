#include "executor/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vramplan {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;
constexpr double kYarnBetaFast = 32, kYarnBetaSlow = 1;  // rotations over the original context

void check_scaling(const Rope& rope) {
  if (!(rope.factor >= 1) || !std::isfinite(rope.factor)) {
    throw Error(ErrorCode::kBadCard, "a rotary scaling factor must be >= 1").at("", "rope.factor");
  }
  if (rope.scaling != "linear" && rope.original_context <= 0) {
    throw Error(ErrorCode::kBadCard, rope.scaling + " scaling needs the original context")
        .at("", "rope.original_context");
  }
}

/// One frequency of Llama 3.1: by its wavelength against the original context.
double llama3_scaled(double frequency, const Rope& rope) {
  const double wavelength = kTwoPi / frequency;
  const double context = static_cast<double>(rope.original_context);
  if (wavelength < context / rope.high_freq_factor) return frequency;
  if (wavelength > context / rope.low_freq_factor) return frequency / rope.factor;
  const double keep = (context / wavelength - rope.low_freq_factor) /
                      (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - keep) * frequency / rope.factor + keep * frequency;
}

/// The pair index that makes `rotations` turns over the original context.
double yarn_index(double rotations, const Rope& rope) {
  const double context = static_cast<double>(rope.original_context);
  return static_cast<double>(rope.rotary_dim) * std::log(context / (rotations * kTwoPi)) /
         (2 * std::log(rope.theta));
}

/// Share of interpolation of pair i: 0 turns fast and is kept, 1 is divided by the factor.
double yarn_ramp(std::int64_t i, const Rope& rope) {
  const double low = std::max(0.0, std::floor(yarn_index(kYarnBetaFast, rope)));
  double high = std::min(static_cast<double>(rope.rotary_dim - 1),
                         std::ceil(yarn_index(kYarnBetaSlow, rope)));
  if (high <= low) high = low + 0.001;
  return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

RopeTable::RopeTable(const Rope& rope, std::int64_t head_dim)
    : head_dim_(head_dim), rotary_dim_(rope.rotary_dim), interleaved_(rope.interleaved) {
  const bool known = rope.scaling == "none" || rope.scaling == "linear" ||
                     rope.scaling == "llama3" || rope.scaling == "yarn";
  if (!known) {
    throw Error(ErrorCode::kUnsupported, "rotary scaling '" + rope.scaling + "'")
        .at("", "rope.scaling")
        .help("none, linear, llama3 and yarn are known");
  }
  if (rope.scaling != "none") check_scaling(rope);
  if (rotary_dim_ <= 0 || rotary_dim_ > head_dim || rotary_dim_ % 2 != 0) {
    throw Error(ErrorCode::kBadCard, "rotary_dim must be even and within head_dim")
        .at("", "rope.rotary_dim");
  }
  for (std::int64_t i = 0; i < rotary_dim_ / 2; ++i) {
    double frequency =
        std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim_));
    if (rope.scaling == "linear") frequency /= rope.factor;
    if (rope.scaling == "llama3") frequency = llama3_scaled(frequency, rope);
    if (rope.scaling == "yarn") {
      const double ramp = yarn_ramp(i, rope);
      frequency = frequency * (1 - ramp) + frequency / rope.factor * ramp;
    }
    inverse_frequency_.push_back(static_cast<float>(frequency));
  }
  if (rope.scaling == "yarn" && rope.factor > 1) {
    magnitude_ = static_cast<float>(0.1 * std::log(rope.factor) + 1);
  }
}

RopeParams RopeTable::params() const {
  return {head_dim_, rotary_dim_, interleaved_, inverse_frequency_.data(), magnitude_};
}

}  // namespace vramplan
