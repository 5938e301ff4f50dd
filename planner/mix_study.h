#pragma once
// MixStudy: what a text loses when groups of layers keep their cache in other formats, and the
// smallest mix that keeps a floor of quality. What is lost is measured by the caller's executor:
// each group in each format alone, each format in all layers, and the mixes that follow.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "modelcards/model_source.h"
#include "planner/mix_search.h"

namespace vramplan {

struct MixQuestion {
  QualityFloor floor;
  KvEncoding base;                   // that nothing is lost in: of 16 or 32 bits
  std::vector<KvEncoding> formats;   // besides the base
  std::int64_t layers_together = 1;  // one format for so many neighbours
  int most_runs = 8;                 // of mixes
};

/// A text under one cache, against the same text under the base.
struct CacheQuality {
  double perplexity = 0;
  double mean_divergence = 0, worst_divergence = 0;  // KL of the next token's distribution, nats
  double same_best = 0;                              // share of positions, 0 to 1
};

/// A cache that was measured whole.
struct MeasuredMix {
  std::vector<KvLayerRange> layers;
  Bytes bytes;              // of the cache, at the plan's context
  BytesPerToken per_token;  // without a residual window
  double predicted = 0;     // sum of what its groups lose alone
  CacheQuality quality;
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
  const ModelSource& source;
  CacheQuality base;  // itself: its perplexity, and nothing lost
  /// A plan with these layers in other formats than the base, and the same prefill chunk whatever
  /// they are.
  std::function<Decisions(const std::vector<KvLayerRange>&)> decide;
  /// One pass over the text. Never called for the base.
  std::function<CacheQuality(const Decisions&)> measure;
  std::function<void(double done)> progress = {};
};

/// Passes over the text that a study makes at most: the base, each group in each format, each
/// format in all layers, and the runs.
int most_passes(const MixQuestion& question, std::int64_t layers);
/// Errors: kUsage for a base or formats that make no question; those of `decide` and `measure`.
MixAnswer study_mix(const MixParts& parts, const MixQuestion& question);

}  // namespace vramplan
