#pragma once
// What speculative decoding adds to an engine's rank: the draft's weights, the layers of cache it
// keeps, and how many tokens a step yields. A draft model is a model of its own; the layers of MTP
// are shaped as the model's last; heads of EAGLE and Medusa have the shapes of their publications.
// Tables and head of the model serve a head too, unless it has its own.
#include <memory>

#include "planner/engine_decision.h"
#include "planner/engines/engine_model.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

enum class SpeculationMethod { kNone, kNgram, kDraft, kMtp, kEagle, kEagle3, kMedusa };
/// The words of Speculation::method. Errors: kUsage with the nearest word.
SpeculationMethod parse_speculation(const std::string& text);

/// Checks what one engine can do. Errors: kUnsupported by name for a method the engine has not, or
/// a pipeline; kUsage for counts out of range, a draft without a model, MTP of a model without it.
void check_speculation(EngineKind engine, const ModelCard& card, const Sharding& sharding,
                       const Speculation& speculation, bool has_draft);

/// Tokens a step yields in the mean: a chain of `tokens` drafts, each kept with `acceptance` if all
/// before it were, and one of the model's own: (1 - a^(k + 1)) / (1 - a), k + 1 when a is 1.
/// Source: Leviathan et al., Fast Inference from Transformers via Speculative Decoding, 2023,
/// eq. 1.
double tokens_per_step(double acceptance, std::int64_t tokens);

/// Taken when the request gives none.
inline constexpr double kAssumedAcceptance = 0.7;
/// Rows of EAGLE-3's own head where no card of the head is given. Source: draft_vocab_size of the
/// published heads (yuhuili/EAGLE3-LLaMA3.1-Instruct-8B, EAGLE3-LLaMA3.3-Instruct-70B).
inline constexpr std::int64_t kEagle3Vocab = 32000;

/// The draft's part on each tensor rank; nothing for n-grams. Shapes of a head:
///   eagle: [h, 2 h] and one layer with one norm          (EAGLE, arXiv 2401.15077)
///   eagle3: [h, 3 h], one layer whose q, k, v read 2 h, four norms, a head of its own vocabulary
///           and its map to the model's in 8 bytes an entry   (EAGLE-3, arXiv 2503.01840)
///   medusa: for each token [h, h] and a head             (Medusa, arXiv 2401.10774)
///   mtp: the card's mtp_layers, each with [h, 2 h] and three norms
/// `given`: the draft model, or a card whose first layer has the shape of the head's. The layer of
/// a head is dense, of the model's attention; of a mixture of experts as wide as the experts of a
/// token. Matrices beside the layers are on every rank. Errors: kUsage when the draft's heads do
/// not divide by the ranks; kUnsupported for an EAGLE-3 head of latent attention.
struct DraftModel {
  EngineModel model;
  Quantization quantization = Quantization::kNone;
  bool chained = true;  // one pass a drafted token; false: all tokens from one pass
};
/// The model's weights and cache with those of the draft beside them.
void add_draft(EngineModel& model, const DraftModel& draft);
std::optional<DraftModel> draft_model(const ModelSource& target, const ModelSource* given,
                                      const Speculation& speculation, const Decisions& decisions,
                                      const EngineFormats& formats);

}  // namespace vramplan
