#pragma once
// WeightsLoader: takes every weight tensor of a rank from an arena and fills it in place: from a
// GGUF file, or with seeded random values of the card's shapes. There is no staging copy; matrices
// in another format than the file's are converted a few rows at a time (weight_conversion.h).
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "executor/arena.h"
#include "executor/rank_weights.h"
#include "executor/weight_upload.h"
#include "kernels/ops.h"
#include "modelcards/file.h"
#include "modelcards/model_source.h"

namespace vramplan {

enum class WeightFill : std::uint8_t {
  kNone,  // dry: shapes only
  kFile,
  kRandom,  // the same values for the same seed and tensor name, whatever the order
};

struct LoadOptions {
  WeightFill fill = WeightFill::kNone;
  const File* file = nullptr;                     // of a GGUF source, for kFile
  std::uint64_t seed = 0;                         // for kRandom
  std::function<void(double fraction)> progress;  // by bytes
  WeightUpload* upload = nullptr;                 // when the CPU cannot write the tensors
  Arena* host = nullptr;                          // of the matrices of streamed layers
  Arena* f32_vectors = nullptr;  // where f32 copies of 16-bit norms and biases go, on a GPU
};

struct LoadedWeights {
  RankWeights weights;
  /// Operations read norms and biases as f32: of 16-bit ones (cards without a file) the arena holds
  /// the bytes of the plan and these are what the views of `weights` point to, a few KiB a layer;
  /// on a GPU they are in LoadOptions::f32_vectors instead.
  std::vector<std::vector<float>> f32_vectors;
  std::map<std::string, Bytes> group_bytes;  // what the arena handed out, by row of the ledger
};

/// The format of each matrix: what `decisions.weight_layers` says of its layer, else
/// `decisions.weights`, else the file's own, else the card's; norms and biases of a file stay as
/// they are. From a card, norms and biases take the format of the matrices that no layer names when
/// that is f32, f16 or bf16, else f32. Errors: kBadGguf naming a tensor that is missing or of
/// another shape, kUnsupported for one that the transformer has no use for, kFile and kIo from
/// reading, kOutOfPlan from the arena.
LoadedWeights load_weights(const ModelSource& source, const Decisions& decisions,
                           const ModelPart& part, Arena& arena, Ops& ops,
                           const LoadOptions& options);

}  // namespace vramplan
