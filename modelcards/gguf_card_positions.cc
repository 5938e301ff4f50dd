// Half of GgufCardReader: rotary scaling and sliding windows.
#include <algorithm>
#include <cmath>

#include "modelcards/gguf_card_reader.h"

namespace vramplan {
namespace {

/// Llama 3.1's rule for the divisor of a frequency with this wavelength.
double llama3_divisor(double wavelength, const Rope& rope) {
  const auto context = static_cast<double>(rope.original_context);
  if (wavelength < context / rope.high_freq_factor) return 1.0;
  if (wavelength > context / rope.low_freq_factor) return rope.factor;
  const double smooth = (context / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return 1.0 / ((1.0 - smooth) / rope.factor + smooth);
}

}  // namespace

void GgufCardReader::read_rope() {
  if (card_.position != PositionKind::kRope) return;
  rope_.theta = gguf_.real_or(prefix_ + "rope.freq_base", 10000.0);
  rope_.interleaved = architecture_.interleaved;
  if (!(rope_.theta > 0)) fail_gguf_card(gguf_, prefix_ + "rope.freq_base", "must be above 0");
  std::string kind = gguf_.text_or(prefix_ + "rope.scaling.type", "none");
  double factor = gguf_.real_or(prefix_ + "rope.scaling.factor", 1.0);
  if (gguf_.has(prefix_ + "rope.scale_linear")) {  // the key before rope.scaling.*
    factor = gguf_.real_or(prefix_ + "rope.scale_linear", 1.0);
    kind = "linear";
  }
  const bool own = kind == "yarn" && gguf_.has(prefix_ + "rope.scaling.yarn_log_multiplier");
  if (architecture_.planned && (own || has_tensor("rope_factors_long.weight"))) {
    rope_.scaling = "other";
    return;
  }
  if (kind != "none" && kind != "linear" && kind != "yarn") {
    refuse_gguf_card(gguf_, prefix_ + "rope.scaling.type", "rotary scaling of the kind " + kind);
  }
  if (has_tensor("rope_factors_long.weight") || has_tensor("rope_factors_short.weight")) {
    refuse_gguf_card(gguf_, "rope_factors_long.weight", "rotary scaling of the kind longrope");
  }
  for (const char* key : {"attn_factor", "yarn_log_multiplier", "yarn_ext_factor",
                          "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"}) {
    const std::string name = prefix_ + "rope.scaling." + key;
    if (gguf_.has(name)) refuse_gguf_card(gguf_, name, "rotary scaling with this parameter");
  }
  if (kind == "none" || factor == 1.0) {
    read_llama3_factors();
    return;
  }
  if (!(factor > 0)) fail_gguf_card(gguf_, prefix_ + "rope.scaling.factor", "must be above 0");
  rope_.scaling = kind;
  rope_.factor = factor;
  rope_.original_context =
      integer_or("rope.scaling.original_context_length", 0, 1, std::int64_t{1} << 40);
  if (kind == "yarn" && rope_.original_context == 0) {
    fail_gguf_card(gguf_, prefix_ + "rope.scaling.original_context_length", "yarn needs it");
  }
  if (!gguf_.rope_factors().empty()) {
    refuse_gguf_card(gguf_, "rope_freqs.weight", "two kinds of rotary scaling at once");
  }
}

/// The converter writes Llama 3's scaling as a table of divisors and drops its parameters. They are
/// recovered (low 1, high 4, context 8192, as all published Llama 3.x have) and proved on every
/// entry.
void GgufCardReader::read_llama3_factors() {
  const std::vector<double>& divisors = gguf_.rope_factors();
  if (divisors.empty()) return;
  if (std::all_of(divisors.begin(), divisors.end(), [](double d) { return d == 1.0; })) return;
  Rope rope = rope_;
  rope.scaling = "llama3";
  rope.factor = divisors.back();
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_context = 8192;
  const auto count = static_cast<double>(divisors.size());
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double wavelength =
        2 * std::acos(-1.0) * std::pow(rope.theta, static_cast<double>(i) / count);
    const double wanted = llama3_divisor(wavelength, rope);
    if (!(std::fabs(divisors[i] - wanted) <= 1e-4 * wanted)) {
      refuse_gguf_card(gguf_, "rope_freqs.weight",
                       "a table of rotary factors that is not Llama 3's");
    }
  }
  rope_ = rope;
}

/// Gemma 2: every other layer slides, beginning with the first. Gemma 3: all but each sixth. Phi-3:
/// all. Other architectures write the key for nothing that their weights were trained with.
void GgufCardReader::read_windows() {
  const std::int64_t window = integer_or("attention.sliding_window", 0, 0, std::int64_t{1} << 40);
  if (window == 0) {
    if (is("gemma3"))
      fail_gguf_card(gguf_, prefix_ + "attention.sliding_window", "the key is missing");
    return;
  }
  if (architecture_.planned) {
    read_planned_windows(window);
    return;
  }
  const std::int64_t period = is("gemma2") ? 2 : is("gemma3") ? 6 : 0;
  if (period == 0 && !is("phi3")) {
    refuse_gguf_card(gguf_, prefix_ + "attention.sliding_window",
                     "a sliding window in this architecture");
  }
  const std::string pattern = prefix_ + "attention.sliding_window_pattern";
  const bool listed = gguf_.is_array(pattern);
  const auto slides = listed ? gguf_.integers(pattern) : std::vector<std::int64_t>{};
  if (listed && slides.size() != card_.layers.size())
    fail_gguf_card(gguf_, pattern, "needs one value a layer");
  const std::int64_t every =
      listed || period == 0 ? 0 : integer_or("attention.sliding_window_pattern", period, 1, 65'536);
  for (std::size_t i = 0; i < card_.layers.size(); ++i) {
    Mixer& mixer = card_.layers[i].mixer;
    const bool full =
        listed ? slides[i] == 0 : every > 0 && (static_cast<std::int64_t>(i) + 1) % every == 0;
    if (full) continue;
    if (window < card_.context_limit) {
      mixer.kind = MixerKind::kSlidingWindow;
      mixer.window_tokens = window;
    }
    if (!is("gemma3")) continue;
    // Local layers keep their own base and are not stretched.
    mixer.rope.theta = gguf_.real_or(prefix_ + "rope.freq_base_swa", 10000.0);
    mixer.rope.scaling = "none";
    mixer.rope.factor = 1.0;
    mixer.rope.original_context = 0;
  }
}

}  // namespace vramplan
