#pragma once
// Weights: the tensors a rank holds, their exact parameters and bytes. A file's tensor table is the
// truth when there is one; else the card's stored format, or the format that was asked for. Knows
// no device.
#include <optional>
#include <string>
#include <vector>

#include "modelcards/model_source.h"
#include "planner/sharding.h"

namespace vramplan {

/// What a tensor is to the forward pass. kVector: norms, biases, routers: read whole, never a
/// matrix product worth a term of its own.
enum class Part : std::uint8_t {
  kVector,
  kQ,
  kK,
  kV,
  kAttentionOutput,
  kGate,
  kUp,
  kDown,
  kRouter,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kEmbedding,
  kPositions,
  kHead,
  kMatrix,  // another matrix that every token is multiplied with: latent and linear mixers
};

struct WeightTensor {
  // Row of the ledger: embedding positions attention feed_forward norms head encoder mtp.
  std::string group;
  std::string name;  // as in a GGUF file: "blk.3.attn_q.weight"
  DType dtype = DType::kF32;
  std::int64_t rows = 0,
               columns = 0;  // on this rank; a vector is one row; experts are stacked in rows
  Part part = Part::kVector;
  std::int64_t matrices = 1;  // stacked in rows, each with its own scales

  Bytes bytes() const { return bytes_of(dtype, rows, columns, matrices); }
};

/// Layers of a rank that are alike in every respect, computed once.
struct LayerKind {
  Layer layer;
  LayerShape shape;
  std::int64_t count = 0;
  std::int64_t streamed = 0;             // of them with matrices in host memory
  std::vector<WeightTensor> tensors;     // of one such layer; names without "blk.N."
  std::optional<KvEncoding> cache = {};  // that Decisions::kv_layers gives it; else as the rest
  std::optional<DType> weights = {};     // asked of its matrices; nothing: as stored

  KvEncoding encoding(const Decisions& decisions) const {
    return cache ? *cache : KvEncoding{decisions.kv_format, decisions.kv_full_heads};
  }
};

/// One rank's share of a model: what every other account is computed from.
struct RankModel {
  RankShape shape;
  std::int64_t hidden = 0, vocab = 0;
  double logit_softcap = 0;
  std::vector<LayerKind> kinds;
  std::vector<std::size_t> kind_of_layer;  // for each layer of the rank
  std::vector<WeightTensor> outside;       // embedding, positions, final norm, head
  DType embedding_dtype = DType::kF32, head_dtype = DType::kF32;  // tied: equal
  std::optional<DType> positions_dtype;                           // of a table of learned positions
  bool final_norm = true;
  bool mixed_weights = false;  // rows of layers are told apart by format: Decisions::weight_layers
  bool rms_norms = true;
  std::int64_t weight_staging = 0;  // streamed layers whose matrices are on the device at one time
  std::int64_t mtp_layers = 0;      // loaded on this rank, alike to the last of its kinds
};

/// Whole-model widths, no bytes: total counts a tied table once; active leaves out the experts a
/// token is not sent to. Errors: kOverflow, kUnsupported.
struct ParameterCount {
  Elements total, active;
};
ParameterCount count_parameters(const ModelCard& card);

/// Bytes by format. `stored` (may be empty) gives each tensor's own format; matrices and tables
/// have that of `decisions.weights` and `decisions.weight_layers` where these ask for another,
/// while norms, biases and routers stay as stored. From a card, norms, biases and routers take the
/// format of the matrices that no layer names when it is f32, f16 or bf16, and stay f32 under a
/// quantised format. Where `decisions.weights` is a packed format (AWQ, GPTQ, fp8-block ...)
/// `stored` has no say: tables, the head, routers and all vectors stay as published. Errors: kUsage
/// when a row does not divide into blocks of the format, or for layers the model does not have;
/// kBadCard when the file's tensors are not the card's; kUnsupported for a tensor no account has a
/// place for.
RankModel rank_model(const ModelCard& card, const Decisions& decisions,
                     const std::vector<StoredTensor>& stored, int rank);

/// The same, tensor by tensor in the order of the forward pass.
std::vector<WeightTensor> rank_weight_tensors(const ModelCard& card, const Decisions& decisions,
                                              int rank, const std::vector<StoredTensor>& stored);

const WeightTensor* find_part(const LayerKind& kind, Part part);  // null when absent

/// The groups in the order of the ledger.
inline constexpr const char* kWeightGroups[] = {"embedding",    "positions", "attention",
                                                "feed_forward", "norms",     "head",
                                                "encoder",      "mtp",       "staging"};
struct GroupBytes {
  const char* group = nullptr;
  Bytes bytes;
  std::int64_t tensors = 0;
  std::optional<DType> dtype = {};  // of layers' tensors, with mixed_weights: one entry a format
  std::string row() const;          // "attention", "attention q8_0"
};
/// Groups that hold something on the device. Sum over the rank's tensors there; "staging" is the
/// room of streamed layers.
std::vector<GroupBytes> weight_groups(const RankModel& model);
/// Of those groups.
Bytes weight_bytes(const RankModel& model);
/// sum of round_up(bytes, 256) - bytes: what the arena's alignment adds on the device.
Bytes arena_padding(const RankModel& model);

}  // namespace vramplan
