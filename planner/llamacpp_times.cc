#include "planner/llamacpp_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Of a score without flash attention: f32 written; read and written by the softmax; read and made
/// 16 bits; read by the product with the values.
constexpr double kScoreBytes = 4 + 8 + 6 + 2;

double real(std::int64_t n) { return static_cast<double>(n); }

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kUnsupported, fmt::format("no times of llama.cpp: {}", what))
      .at("", "--engine")
      .help("times exist for dense models of full attention on NVIDIA GPUs, layers split");
}

bool is_matrix(const WeightTensor& tensor) {
  switch (tensor.part) {
    case Part::kQ:
    case Part::kK:
    case Part::kV:
    case Part::kAttentionOutput:
    case Part::kGate:
    case Part::kUp:
    case Part::kDown:
      return true;
    default:
      return false;
  }
}

/// Of a stage, or of all of them.
struct Counts {
  double quantised = 0, plain = 0;              // elements of matrices, the head apart
  double quantised_bytes = 0, plain_bytes = 0;  // as stored
  double head_quantised = 0, head_plain = 0, head_bytes = 0;
  double cache_bytes = 0;   // a token, f16
  double attention = 0;     // heads x head_dim of all layers
  double heads = 0;         // of all layers
  double vector_bytes = 0;  // a token: norms, rotation, sums, conversions to and from 16 bits
  double layers = 0;
};

/// Bytes of a token's vectors in one layer, all f32 as llama.cpp keeps them: norms (read, write)
/// and sums (two read, one written) of the hidden width, rotation of q and k, the gated activation
/// (four passes), and around each product its input made 16 bits and its output f32.
double vector_bytes(const LayerShape& s, double hidden) {
  const double q = real(s.q), kv = real(s.k + s.v), o = real(s.o), f = real(s.intermediate);
  const double norms = 2 * 8 * hidden, sums = 2 * 12 * hidden, rotation = 8 * (q + real(s.k));
  const double activation = 5 * 4 * f;
  const double inputs = 6 * (3 * hidden + o + 2 * hidden + f);
  const double outputs = 8 * (q + kv + hidden + 2 * f + hidden);
  return norms + sums + rotation + activation + inputs + outputs;
}

void add_layers(const LayerKind& kind, double hidden, Counts& out) {
  const Mixer& mixer = kind.layer.mixer;
  if (mixer.kind != MixerKind::kFullAttention ||
      kind.layer.feed_forward.kind == FeedForwardKind::kMoe) {
    refuse("experts, or another mixer than full attention");
  }
  const double count = real(kind.count);
  for (const WeightTensor& tensor : kind.tensors) {
    if (!is_matrix(tensor)) continue;
    const bool packed = is_block_quantised(tensor.dtype);
    (packed ? out.quantised : out.plain) += count * real(tensor.rows) * real(tensor.columns);
    (packed ? out.quantised_bytes : out.plain_bytes) += count * real(tensor.bytes().n);
  }
  out.cache_bytes += count * 2 * real(kind.shape.k + kind.shape.v);
  out.attention += count * real(kind.shape.heads) * real(mixer.head_dim);
  out.heads += count * real(kind.shape.heads);
  out.vector_bytes += count * vector_bytes(kind.shape, hidden);
  out.layers += count;
}

Counts counts_of(const std::vector<RankModel>& stages) {
  Counts out;
  for (const RankModel& stage : stages) {
    if (stage.shape.tp > 1) refuse("tensor parallel ranks");
    for (const LayerKind& kind : stage.kinds) add_layers(kind, real(stage.hidden), out);
    if (!stage.shape.head) continue;
    const double elements = real(stage.vocab) * real(stage.hidden);
    (is_block_quantised(stage.head_dtype) ? out.head_quantised : out.head_plain) = elements;
    out.head_bytes = real(bytes_of(stage.head_dtype, stage.vocab, stage.hidden, 1).n);
  }
  return out;
}

/// Dense 16-bit products with 16-bit sums, as llama.cpp asks for: four times f32 where a
/// multiprocessor has 128 lanes, whatever rate with f32 sums a GeForce's data sheet has.
double peak_of(const DeviceCard& device) {
  const auto f16 = device.flops_per_s.find("f16");
  double peak = f16 == device.flops_per_s.end() ? 0 : f16->second.value;
  if (float_lanes(device) == 128) peak = std::max(peak, 4 * device.flops_per_s.at("f32").value);
  return peak;
}

}  // namespace

LlamacppTerms llamacpp_terms(const std::vector<RankModel>& stages, const DeviceCard& device,
                             const LlamacppLoad& load) {
  const double bandwidth = device.memory_bytes_per_s.value, peak = peak_of(device);
  const double integers = integer_ops_per_s(device);
  const bool known = device.kind == DeviceKind::kGpu && device.title.rfind("NVIDIA", 0) == 0;
  if (!known || bandwidth <= 0 || peak <= 0 || integers <= 0) refuse("on " + device.name);
  VRAMPLAN_CHECK(load.ubatch.n >= 1);
  const Counts n = counts_of(stages);
  const double floats = integers / 64 * float_lanes(device);
  const double context = real(load.input.n) + real(load.output.n) / 2;
  LlamacppTerms out;
  out.stages = real(static_cast<std::int64_t>(stages.size()));
  out.layers = n.layers;
  out.quantised = n.quantised / std::max(1.0, n.quantised + n.plain);
  out.step_bytes =
      (n.quantised_bytes + n.plain_bytes + n.head_bytes + context * n.cache_bytes) / bandwidth;
  out.step_quantised = (n.quantised + n.head_quantised) / integers;
  out.step_plain = (n.plain + n.head_plain) / floats;
  if (load.input.n < 1) return out;
  const double input = real(load.input.n);
  out.ubatches = real(ceil_div(load.input.n, load.ubatch.n));
  // The mask hides half of the pairs, yet whole tiles are computed: each ubatch against all before
  // it and itself.
  const double pairs = input * (out.ubatches + 1) / 2 * std::min(input, real(load.ubatch.n));
  out.flops = (2 * input * (n.quantised + n.plain) + 4 * pairs * n.attention) / peak;
  out.weights = out.ubatches * 2 * (n.quantised + n.plain) / bandwidth;
  out.unpacked = out.ubatches * (n.quantised_bytes + 2 * n.quantised) / bandwidth;
  out.unpack = out.ubatches * n.quantised / integers;
  out.vectors = input * n.vector_bytes / bandwidth;
  if (!load.flash_attention) out.scores = kScoreBytes * pairs * n.heads / bandwidth;
  return out;
}

LlamacppTimes llamacpp_times(const LlamacppTerms& t, const LlamacppRates& r) {
  const double lanes = r.quantised_ops * t.step_quantised + r.plain_ops * t.step_plain;
  LlamacppTimes out;
  out.step.v = std::hypot(t.step_bytes / r.memory, lanes) + t.layers * r.layer_s;
  out.prompt.v = t.flops / r.compute +
                 (t.weights + t.unpacked + t.vectors + t.scores) / r.prompt_memory +
                 r.unpack_ops * t.unpack;
  if (t.stages > 1 && t.ubatches > 1) {
    const double overlap = t.quantised * r.overlap_quantised + (1 - t.quantised) * r.overlap_plain;
    out.prompt.v /= 1 + overlap * (2 * t.stages / (t.stages + 1) - 1);
  }
  return out;
}

}  // namespace vramplan
