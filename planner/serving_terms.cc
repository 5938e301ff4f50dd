#include "planner/serving_terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "modelcards/error.h"

namespace vramplan {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

constexpr double kLatentRope = 64;  // rotary columns of DeepSeek's and Kimi's latent

double peak_of(const DeviceCard& device, std::initializer_list<const char*> names) {
  double best = 0;
  for (const char* name : names) {
    const auto found = device.flops_per_s.find(name);
    if (found != device.flops_per_s.end()) best = std::max(best, found->second.value);
  }
  return best;
}

double link_bytes_per_s(const DeviceCard& device) {
  double best = 0;
  for (const Link& link : device.links) {
    const bool near = link.kind == LinkKind::kNvlink || link.kind == LinkKind::kPcie;
    if (near) best = std::max(best, link.bytes_per_s.value);
  }
  return best;
}

/// How matrices are stored and multiplied under a quantisation.
struct WeightKernel {
  std::string dtype;       // word of the kernel table
  double stored = 2;       // bytes of an element
  double flops_per_s = 0;  // peak of what it is multiplied in
};

WeightKernel weight_kernel(Quantization quantization, const DeviceCard& device) {
  const double bf16 = peak_of(device, {"bf16", "f16"}), fp8 = peak_of(device, {"bf16", "fp8"});
  const double fp4 = peak_of(device, {"fp4"});
  switch (quantization) {
    case Quantization::kFp8:
      return {"fp8", 1, fp8};
    case Quantization::kInt8:
      return {"fp8", 1, std::max(bf16, peak_of(device, {"int8"}))};
    case Quantization::kFp8Block:
      return {"fp8_block", 1, fp8};
    case Quantization::kInt4:  // unpacked on the way to 16-bit products
      return {"int4", 0.5195, bf16};
    case Quantization::kMxfp4:
      if (fp4 > 0) return {"mxfp4_fp8", 0.53125, fp8};
      return {"mxfp4", 0.53125, bf16};
    case Quantization::kNvfp4:
      if (fp4 > 0) return {"nvfp4", 0.5625, fp4};
      return {"bf16", 0.5625, bf16};
    case Quantization::kNone:
      break;
  }
  return {"bf16", 2, bf16};
}

}  // namespace

PassModel::PassModel(EngineKind engine, const DeviceCard& device, const EngineModel& model,
                     Quantization quantization, std::int64_t kv_element_bytes, int tp,
                     const ServedRates& rates)
    : m_(model),
      tp_(tp),
      bandwidth_(device.memory_bytes_per_s.value),
      peak16_(peak_of(device, {"bf16", "f16"})),
      link_(link_bytes_per_s(device)),
      kv_bytes_(real(kv_element_bytes)) {
  if (bandwidth_ <= 0 || peak16_ <= 0 || (tp > 1 && link_ <= 0)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} says too little for serving times", device.name))
        .at(device.name, "flops_per_s, memory_bytes_per_s, links");
  }
  // mxfp4 is a format of experts; the other matrices stay in 16 bits.
  const bool mxfp4 = quantization == Quantization::kMxfp4;
  const WeightKernel plain = weight_kernel(mxfp4 ? Quantization::kNone : quantization, device);
  const WeightKernel routed = weight_kernel(quantization, device);
  peak_weights_ = plain.flops_per_s;
  peak_experts_ = routed.flops_per_s;
  stored_weights_ = plain.stored;
  stored_experts_ = routed.stored;
  const std::string kv = kv_element_bytes == 1 ? "fp8" : "bf16";
  gemm_ = kernel_cost(KernelOp::kGemm, engine, device, plain.dtype);
  plain_ = kernel_cost(KernelOp::kGemm, engine, device, "bf16");
  prefill_ = kernel_cost(KernelOp::kAttentionPrefill, engine, device, kv);
  decode_ = kernel_cost(KernelOp::kAttentionDecode, engine, device, kv);
  latent_prefill_ = kernel_cost(KernelOp::kLatentPrefill, engine, device, kv);
  latent_decode_ = kernel_cost(KernelOp::kLatentDecode, engine, device, kv);
  experts_ = kernel_cost(KernelOp::kExperts, engine, device, routed.dtype);
  if (tp > 1) reduce_ = kernel_cost(KernelOp::kAllReduce, engine, device, "bf16", tp);
  const int group = model.attention_tp;
  if (group > 1) group_reduce_ = kernel_cost(KernelOp::kAllReduce, engine, device, "bf16", group);
  for (KernelCost* cost :
       {&gemm_, &plain_, &prefill_, &decode_, &latent_prefill_, &latent_decode_, &experts_}) {
    if (cost->other_device) cost->memory *= rates.memory;
  }
  const double integers = integer_ops_per_s(device);
  if (quantization == Quantization::kInt4 && gemm_.dtype != plain.dtype && integers > 0) {
    unpack_s_ = rates.unpack / integers;
  }
}

void PassModel::matrices(PassTokens tokens, PassTokens logit_rows, PassTerms& terms) const {
  const auto product = [&](const KernelCost& cost, double stored, double peak, double m, double n,
                           double k) {
    const double bytes = (n * k + m * k) * stored + 2 * m * n;
    return cost.work_seconds(bytes / bandwidth_, 2 * m * n * k / peak, k);
  };
  for (const EngineMatrix& matrix : m_.matrices) {
    const KernelCost& cost = matrix.quantised ? gemm_ : plain_;
    terms.launch += real(matrix.count) * cost.call_s;
    terms.matrices += real(matrix.count) * product(cost, matrix.quantised ? stored_weights_ : 2,
                                                   matrix.quantised ? peak_weights_ : peak16_,
                                                   matrix.all_groups ? tokens.all : tokens.own,
                                                   real(matrix.rows), real(matrix.columns));
    if (matrix.quantised) {
      terms.matrices += real(matrix.count) * real(matrix.rows) * real(matrix.columns) * unpack_s_;
    }
  }
  const double rows = m_.head_sees_all ? logit_rows.all : logit_rows.own;
  if (m_.head && rows > 0) {
    terms.launch += plain_.call_s;
    terms.head =
        product(plain_, 2, peak16_, rows, real(m_.vocab) / real(m_.head_ranks), real(m_.hidden));
  }
  const double widths = 8 * real(m_.hidden) +
                        3 * real(std::max(m_.intermediate, m_.expert_intermediate)) +
                        2 * real(m_.heads * m_.head_dim);
  terms.vectors = tokens.own * widths * 2 * real(m_.layers) / bandwidth_;
}

void PassModel::experts(double tokens, PassTerms& terms) const {
  if (m_.experts == 0) return;
  const double e = real(m_.experts), k = real(m_.experts_per_token), ranks = m_.expert_ranks;
  const double matrix = 3 * real(m_.hidden) * real(m_.expert_intermediate);
  const double chance = 1 - std::pow(1 - k / e, tokens);  // that an expert is reached
  // The busiest of the ranks that share whole experts is waited for.
  const double reached =
      std::min(e / ranks, busiest(e / ranks * chance, e / ranks * chance * (1 - chance), ranks));
  const double rows =
      std::min(tokens * std::min(k, e / ranks),
               busiest(tokens * k / ranks, tokens * k / ranks * (1 - 1 / ranks), ranks));
  const double layers = real(m_.expert_layers);
  terms.expert_launch = layers * experts_.call_s;
  terms.experts =
      layers * experts_.work_seconds(reached * matrix * stored_experts_ / bandwidth_,
                                     2 * rows * matrix / peak_experts_, rows * real(m_.hidden));
}

/// Two all-reduces a layer. With attention groups one is over the ranks of a group; the other is an
/// all-gather of all groups' tokens before the experts and a reduce-scatter behind them, which move
/// what an all-reduce of all tokens moves.
void PassModel::reduce(PassTokens tokens, PassTerms& terms) const {
  if (tp_ == 1) return;
  const double layers = real(m_.layers), hidden = real(m_.hidden);
  const auto add = [&](const KernelCost& cost, double count, double rows, double ranks) {
    if (ranks < 2) return;
    const double moved = rows * hidden * 2 * 2 * (ranks - 1) / ranks;
    terms.reduce_launch += count * cost.call_s;
    terms.reduce += count * cost.work_seconds(moved / link_, 0, 0);
  };
  if (m_.groups == 1) return add(reduce_, 2 * layers, tokens.all, tp_);
  bool dense_over_all = false;
  for (const EngineMatrix& matrix : m_.matrices) dense_over_all |= matrix.all_groups;
  const double gathered = dense_over_all ? layers : real(m_.expert_layers);
  add(group_reduce_, 2 * layers - gathered, tokens.own, m_.attention_tp);
  add(reduce_, gathered, tokens.all, tp_);
}

double PassModel::floor_seconds(double tokens) const {
  double plain = 0;
  for (const EngineMatrix& matrix : m_.matrices) {
    // Each group takes prompts of its own: in the mean they share its matrices too.
    const double groups = matrix.all_groups ? 1 : real(m_.groups);
    plain += real(matrix.rows) * real(matrix.columns) * real(matrix.count) / groups;
  }
  const double routed = 3 * real(m_.hidden) * real(m_.expert_intermediate) *
                        real(m_.experts_per_token) * real(m_.expert_layers) / m_.expert_ranks;
  return 2 * tokens * (plain / peak_weights_ + routed / peak_experts_);
}

PassTerms PassModel::decode(double running, double context, double tokens_each) const {
  PassTerms terms;
  const double own = std::max(1.0, running / real(m_.groups));  // sequences of one group
  const PassTokens tokens{own * tokens_each, running * tokens_each};
  matrices(tokens, tokens, terms);
  experts(tokens.all, terms);
  reduce(tokens, terms);
  const double heads = real(m_.heads), dim = real(m_.head_dim);
  for (const KvLayers& layers : m_.kv) {
    const double kept = layers.window > 0 ? std::min(context, real(layers.window)) : context;
    // Ranks that share a cache read their tokens for the heads of all of them: flops stay.
    const double bytes = own * kept * real(layers.bytes_per_token.n) / real(m_.context_ranks);
    const bool latent = layers.kind == MixerKind::kMla;
    const KernelCost& cost = latent ? latent_decode_ : decode_;
    // Absorbed MLA: every head against the whole latent, its values the part without positions.
    const double cached = real(layers.bytes_per_token.n) / kv_bytes_;
    const double flops = latent ? 2 * tokens.own * kept * heads * (2 * cached - kLatentRope)
                                : 4 * tokens.own * kept * heads * dim;
    const double x = latent ? tokens.own * heads : tokens.own * heads * dim;
    terms.launch += real(layers.layers) * cost.call_s;
    terms.attention +=
        real(layers.layers) * cost.work_seconds(bytes / bandwidth_, flops / peak16_, x);
  }
  return terms;
}

PassTerms PassModel::prefill(double sequences, double input) const {
  PassTerms terms;
  // Of the prompts of a pass one group has at least one.
  const double own = std::max(std::min(1.0, sequences), sequences / real(m_.groups));
  const PassTokens tokens{own * input, sequences * input};
  matrices(tokens, {own, sequences}, terms);
  experts(tokens.all, terms);
  reduce(tokens, terms);
  const double heads = real(m_.heads), dim = real(m_.head_dim);
  for (const KvLayers& layers : m_.kv) {
    const double seen = layers.window > 0 ? std::min(input, real(layers.window)) : input;
    const double pairs = tokens.own * seen - own * seen * seen / 2;
    const bool latent = layers.kind == MixerKind::kMla;
    const KernelCost& cost = latent ? latent_prefill_ : prefill_;
    // MLA: queries and keys of head_dim columns, values without the rotary part.
    const double columns = latent ? 2 * dim - kLatentRope : 2 * dim;
    const double kv = real(layers.bytes_per_token.n);
    const double bytes =
        latent ? tokens.own * heads * 2 * columns * 2 : tokens.own * (kv + 4 * heads * dim);
    terms.launch += real(layers.layers) * cost.call_s;
    terms.attention += real(layers.layers) *
                       cost.work_seconds(bytes / bandwidth_, 2 * pairs * heads * columns / peak16_,
                                         latent ? tokens.own * heads : tokens.own * heads * dim);
  }
  return terms;
}

}  // namespace vramplan
