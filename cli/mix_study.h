#pragma once
// MixStudy: measures what a text loses when groups of layers keep their cache in other formats, and
// finds the smallest mix that keeps a floor of quality. All passes are of the real executor.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor/quality.h"
#include "planner/mix_search.h"

namespace vramplan::cli {

struct MixQuestion {
  QualityFloor floor;
  KvEncoding base;                   // that nothing is lost in: of 16 or 32 bits
  std::vector<KvEncoding> formats;   // besides the base
  std::int64_t layers_together = 1;  // one format for so many neighbours
  int most_runs = 8;                 // of mixes
};

/// A cache that was measured whole.
struct MeasuredMix {
  std::vector<KvLayerRange> layers;
  Bytes bytes;              // of the cache, at the plan's context
  BytesPerToken per_token;  // without a residual window
  double predicted = 0;     // sum of what its groups lose alone
  TextQuality quality;
  MixLoss loss;
  bool keeps = false;
};

struct MixAnswer {
  MixQuestion question;
  std::int64_t tokens = 0;            // of the text
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
  PromptRuns& runs;
  std::vector<std::int32_t> ids;
  /// A plan with these layers in other formats than the base, and the same prefill chunk whatever
  /// they are.
  std::function<Decisions(const std::vector<KvLayerRange>&)> decide;
  std::function<void(const std::string& what, double done)> progress = {};
};

/// Passes over the text that a study makes at most: the base, each group in each format, each
/// format in all layers, and the runs.
int most_passes(const MixQuestion& question, std::int64_t layers);
/// Errors: kUsage for a base or formats that make no question; those of PromptRuns.
MixAnswer study_mix(const MixParts& parts, const MixQuestion& question);

}  // namespace vramplan::cli
