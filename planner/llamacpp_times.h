#pragma once
// LlamacppTimes: seconds of llama.cpp on NVIDIA devices, one sequence at a time, by mechanism:
//   - a step reads all weights and the cache once. Its kernels unpack or convert every weight on
//     the way, by lanes that no data sheet's bandwidth knows of: a device with much bandwidth a
//     lane (A100) is bound by them, others are not. Bytes and lanes overlap about:
//       step = sqrt(bytes^2 + (quantised_ops x q + plain_ops x p)^2) + layers x layer_s
//   - a prompt goes through in ubatches of 512 tokens. Block-quantised weights are unpacked to
//     16 bits in memory, for each ubatch again, and multiplied by the GEMM library:
//       prompt = flops / compute + (weights + unpacked + vectors + scores) / prompt_memory
//                + unpack_ops x u
//     Without flash attention the scores of all heads lie in memory.
//   - layers split over S devices: the second ubatch of a prompt enters the first device while the
//     first is in the others: two ubatches take (S + 1) / 2 S of the time, of which the rows show a
//     share (`overlap_*`); more than two are not seen to overlap.
// Rates: planner/published_rates.h.
#include <vector>

#include "planner/published_rates.h"
#include "planner/weights.h"

namespace vramplan {

struct LlamacppLoad {
  Tokens input, output;  // 0 input: steps over what was generated alone
  Tokens ubatch{512};
  bool flash_attention = false;  // scores stay on the chip
};

/// Seconds at the rates of the data sheet, before any share; operations at one a weight.
struct LlamacppTerms {
  double step_bytes = 0, step_quantised = 0, step_plain = 0;
  double flops = 0, weights = 0, unpacked = 0, vectors = 0, scores = 0;  // of the prompt
  double unpack = 0;
  double ubatches = 0, layers = 0, stages = 1;
  double quantised = 0;  // share of the weights that are block-quantised
};
/// `stages`: one rank of each. Errors: kUnsupported by name for experts, latent, linear and
/// windowed attention, tensor parallel ranks, and devices that are no NVIDIA GPU or say too little.
LlamacppTerms llamacpp_terms(const std::vector<RankModel>& stages, const DeviceCard& device,
                             const LlamacppLoad& load);

struct LlamacppTimes {
  Seconds prompt, step;
};
LlamacppTimes llamacpp_times(const LlamacppTerms& terms, const LlamacppRates& rates);

}  // namespace vramplan
