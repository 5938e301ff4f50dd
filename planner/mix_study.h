#pragma once
// MixStudy: what a text loses when groups of layers have their cache, or their weights, in other
// formats, and the smallest mix that keeps a floor of quality. What is lost is measured by the
// caller's executor: each group in each format alone, each format in all layers, and the mixes that
// follow.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "modelcards/model_source.h"
#include "planner/decisions.h"
#include "planner/mix_search.h"

namespace vramplan {

struct MixQuestion {
  QualityFloor floor;
  std::string base;                  // format that nothing is lost in
  std::vector<std::string> formats;  // besides the base
  std::int64_t layers_together = 1;  // one format for so many neighbours
  int most_runs = 8;                 // of mixes
};

/// A text under one choice, against the same text under the base.
struct MixQuality {
  double perplexity = 0;
  double mean_divergence = 0, worst_divergence = 0;  // KL of the next token's distribution, nats
  double same_best = 0;                              // share of positions, 0 to 1
};

/// What a plan with a choice holds.
struct MixSize {
  Bytes bytes;                   // of what formats are chosen for: one of the two below
  Bytes cache = {};              // at the plan's context, a residual window included
  Bytes weights = {};            // of the whole model
  BytesPerToken per_token = {};  // of the cache, without a residual window
};

/// Of a GGUF file or a card on one rank; formats are chosen for its weights, or for its cache.
MixSize mix_size(const ModelSource& source, const Decisions& decisions, bool of_weights);

/// A choice that was measured whole.
struct MeasuredMix {
  std::vector<LayerWord> layers;  // in other formats than the base
  MixSize size;
  double predicted = 0;  // sum of what its groups lose alone
  MixQuality quality;
  MixLoss loss;
  bool keeps = false;
};

struct MixAnswer {
  MixQuestion question;
  int passes = 0;                     // over the text, all together
  MeasuredMix base;                   // every layer in the base format
  std::vector<MeasuredMix> uniforms;  // one format for all layers
  std::vector<MixGroup> groups;
  std::vector<MeasuredMix> runs;  // of mixes, in order
  std::size_t best = 0;           // of runs; their number when only the base keeps the floor

  const MeasuredMix& found() const { return best < runs.size() ? runs[best] : base; }
};

struct MixParts {
  std::int64_t layers = 0;  // of the model
  MixQuality base;          // itself: its perplexity, and nothing lost
  /// A plan with these layers in other formats than the base, and the same prefill chunk and block
  /// whatever they are.
  std::function<Decisions(const std::vector<LayerWord>&)> decide;
  std::function<MixSize(const Decisions&)> size;
  /// One pass over the text. Never called for the base.
  std::function<MixQuality(const Decisions&)> measure;
  std::function<void(double done)> progress = {};
};

/// Passes over the text that a study makes at most: the base, each group in each format, each
/// format in all layers, and the runs.
int most_passes(const MixQuestion& question, std::int64_t layers);
/// Errors: kUsage without formats to choose from; those of `decide`, `size` and `measure`.
MixAnswer study_mix(const MixParts& parts, const MixQuestion& question);

}  // namespace vramplan
