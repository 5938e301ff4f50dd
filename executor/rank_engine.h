#pragma once
// RankEngine: one rank of a model, ready to run: its regions, weights, KV pool and transformer.
// Regions are reserved when it is built; after that, tensors and blocks come out of them or the
// take fails.
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "executor/backend.h"
#include "executor/padded_pass.h"
#include "executor/scheduler.h"
#include "executor/transformer.h"
#include "executor/weights_loader.h"

namespace vramplan {

/// How much a rank reserves; `gpu` only where the backend stands for one.
struct RegionSizes {
  Bytes weights, activations;
  std::vector<Blocks> blocks;  // of each group of layers
  GpuRegions gpu = {};
  Bytes host_weights = {};  // of streamed layers
};

/// Weights that several engines compute with, loaded before them and there as long as they are.
struct SharedWeights {
  Arena& arena;
  const LoadedWeights& loaded;
  const Arena* vectors = nullptr;  // of f32 copies, on a GPU
};

class RankEngine {
 public:
  struct Parts {
    Backend& backend;
    Communicator& tensor_group;
    Communicator& stages;
    std::string offload_directory = {};      // of a cache on a disk
    const SharedWeights* weights = nullptr;  // instead of those that `load` would bring
    /// On a GPU: of an engine with the same sequences and blocks that outlives this one; passes of
    /// the two take turns. Null: one of its own.
    GpuWorkspace* workspace = nullptr;
  };
  /// `source` must outlive the engine. Errors: kOutOfPlan when a region does not fit its tier.
  RankEngine(const Parts& parts, const Decisions& decisions, const ModelSource& source,
             const ModelPart& part, const RegionSizes& sizes);
  ~RankEngine();
  RankEngine(const RankEngine&) = delete;
  RankEngine& operator=(const RankEngine&) = delete;

  /// Once, before forward; of shared weights nothing is read. Errors: those of load_weights.
  void load(const LoadOptions& options);
  /// Runs one pass; see Transformer::forward and Backend::run_pass. On a GPU a decode step gets
  /// Backend::step_rows, and its logits as many. Wait before the logits are
  /// read, and give them back before the next.
  TensorView forward(const Pass& pass);
  void wait() { parts_.backend.synchronize(); }
  /// Draws the pass's tokens where the logits are. Only with a gpu workspace. `uniform`: one a row.
  std::vector<std::int32_t> sample(const Pass& pass, const TensorView& logits,
                                   const Sampling& sampling, std::span<const float> uniform);
  /// The same from any rows. Errors: kInternal for logits that are no numbers.
  std::vector<std::int32_t> draw(const TensorView& logits, std::int64_t first, std::int64_t rows,
                                 const Sampling& sampling, std::span<const float> uniform);
  void give_back(TensorView& logits) { activations_.give_back(logits); }

  const ModelPart& part() const { return part_; }
  Backend& backend() { return parts_.backend; }
  KvStore& kv() { return kv_; }
  /// Null when all of the cache is on the device.
  KvStream* kv_stream() { return stream_.get(); }
  /// Null when all matrices are on the device; after load.
  WeightStream* weight_stream() { return weight_stream_.get(); }
  /// Of the matrices of streamed layers; null without.
  const Arena* host_weights() const { return host_weights_ ? &*host_weights_ : nullptr; }
  /// Null unless prefill goes layer by layer.
  HiddenStates* hidden_states() { return hidden_states_.get(); }
  Arena& weights_arena() {
    return parts_.weights != nullptr ? parts_.weights->arena : weights_arena_;
  }
  /// What other engines can compute with; after load.
  SharedWeights shared_weights() {
    return {weights_arena(), loaded_, own_gpu_ ? &gpu_->vectors() : nullptr};
  }
  /// Of f32 copies of 16-bit norms and biases on a GPU, its own or shared.
  Bytes vector_bytes() const;
  Arena& activations() { return activations_; }
  const std::map<std::string, Bytes>& weight_groups() const { return loaded_.group_bytes; }
  const RankWeights& weights() const { return loaded_.weights; }
  /// Null on a CPU.
  const GpuWorkspace* gpu() const { return gpu_; }
  GpuWorkspace* gpu() { return gpu_; }
  /// All that the device's regions were made for, whether it is taken or not, but for activations.
  Bytes regions_taken();
  /// What tensors and held blocks take now: aligned weights and activations, whole blocks.
  Bytes taken();

 private:
  void stream_weights();
  PassInput step_of_gpu(const Pass& pass);

  Parts parts_;
  const Decisions& decisions_;
  const ModelSource& source_;
  ModelPart part_;
  Arena weights_arena_;
  std::optional<GpuWorkspace> own_gpu_;
  GpuWorkspace* gpu_;               // its own or another engine's; null on a CPU
  std::unique_ptr<Tier> dry_host_;  // host memory of a device that computes nothing
  std::optional<Arena> host_weights_;
  std::unique_ptr<KvStream> stream_;
  KvStore kv_;
  Arena activations_;
  LoadedWeights loaded_;
  std::unique_ptr<WeightStream> weight_stream_;
  std::unique_ptr<HiddenStates> hidden_states_;
  std::optional<Transformer> transformer_;
  PaddedPass padded_;
};

}  // namespace vramplan
