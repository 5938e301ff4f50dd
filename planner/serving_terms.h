#pragma once
// ServingTerms: seconds of the kernels of one pass of a served model on a rank, by what they do.
// Kernels timed alone (planner/kernel_cost.h), added up; nothing of an engine's host work, of
// scheduling or of queues, which planner/serving.h puts on top.
#include "planner/engines/engine_model.h"
#include "planner/kernel_cost.h"
#include "planner/published_rates.h"

namespace vramplan {

/// All in seconds; `launch` parts are the fixed costs of the kernels' calls, the others their work.
struct PassTerms {
  double launch = 0;         // of matrices and attention
  double matrices = 0;       // weights that every token is multiplied with
  double head = 0;           // logits
  double attention = 0;      // over the cache
  double expert_launch = 0;  // routed experts
  double experts = 0;
  double reduce_launch = 0;  // collectives of tensor parallelism
  double reduce = 0;
  double vectors = 0;  // norms, residuals, activations: bytes over bandwidth
};

/// One rank's model on its device, ready to be asked for passes. `model` outlives it.
class PassModel {
 public:
  /// `rates`: what published runs say of kernels that nobody timed on this device or format.
  /// Errors: kUnsupported for a device whose card says too little, or an engine without kernels.
  PassModel(EngineKind engine, const DeviceCard& device, const EngineModel& model,
            Quantization quantization, std::int64_t kv_element_bytes, int tp,
            const ServedRates& rates = {});

  /// `tokens_each` new tokens (more than one when drafts are verified) for each of `running`
  /// sequences, of all attention groups together, that keep `context` tokens each.
  PassTerms decode(double running, double context, double tokens_each = 1) const;
  /// `sequences` whole prompts of `input` tokens in one pass, spread over the attention groups.
  PassTerms prefill(double sequences, double input) const;
  /// Flops of the matrices for `tokens` at the data-sheet peaks: no pass is faster.
  double floor_seconds(double tokens) const;

 private:
  /// Tokens that the ranks of one attention group see, and those of all groups.
  struct PassTokens {
    double own = 0, all = 0;
  };
  void matrices(PassTokens tokens, PassTokens logit_rows, PassTerms& terms) const;
  void experts(double tokens, PassTerms& terms) const;
  void reduce(PassTokens tokens, PassTerms& terms) const;

  const EngineModel& m_;
  int tp_;
  double bandwidth_ = 0, peak16_ = 0, peak_weights_ = 0, peak_experts_ = 0, link_ = 0;
  double stored_weights_ = 2, stored_experts_ = 2, kv_bytes_ = 2;
  double unpack_s_ = 0;  // of a weight, where no kernel of its format was timed
  KernelCost gemm_, plain_, prefill_, decode_, latent_prefill_, latent_decode_, experts_, reduce_,
      group_reduce_;
};

}  // namespace vramplan
