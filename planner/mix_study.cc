#include "planner/mix_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/kv_cache.h"

namespace vramplan {
namespace {

class Study {
 public:
  Study(const MixParts& parts, const MixQuestion& question) : parts_(parts), layers_(parts.layers) {
    answer_.question = question;
    answer_.base = judged({}, 0, parts.base);
    answer_.passes = 1;
  }

  MixAnswer run() {
    for (std::int64_t begin = 0; begin < layers_; begin += answer_.question.layers_together) {
      add_group(begin, std::min(begin + answer_.question.layers_together, layers_));
    }
    add_uniforms();
    const MixQuestion& question = answer_.question;
    const MixFound found =
        find_mix(mix_front(answer_.groups), question.floor, question.most_runs,
                 [&](const MixChoice& choice) {
                   const auto layers = named(layers_of(answer_.groups, choice));
                   answer_.runs.push_back(layers.empty() ? judged({}, 0, parts_.base)
                                                         : run_of(layers, choice.loss));
                   return answer_.runs.back().loss;
                 });
    answer_.best = found.best.value_or(answer_.runs.size());
    return std::move(answer_);
  }

 private:
  /// Pieces that are in the base format are nobody's choice.
  std::vector<LayerWord> named(std::vector<LayerWord> layers) const {
    std::erase_if(layers,
                  [&](const LayerWord& piece) { return piece.word == answer_.question.base; });
    std::vector<LayerWord> joined;
    for (const LayerWord& piece : layers) {
      const bool goes_on =
          !joined.empty() && joined.back().end == piece.begin && joined.back().word == piece.word;
      if (goes_on)
        joined.back().end = piece.end;
      else
        joined.push_back(piece);
    }
    return joined;
  }

  MeasuredMix judged(const std::vector<LayerWord>& layers, double predicted,
                     const MixQuality& quality) {
    const Decisions decisions = parts_.decide(layers);
    // Blocks of another size would charge a group for the rounding of all others.
    if (block_.n == 0) block_ = decisions.block;
    VRAMPLAN_CHECK(decisions.block == block_);
    MeasuredMix mix;
    mix.layers = layers;
    mix.size = parts_.size(decisions);
    mix.predicted = predicted;
    mix.quality = quality;
    mix.loss = {quality.mean_divergence, std::log(quality.perplexity / parts_.base.perplexity)};
    mix.keeps = answer_.question.floor.keeps(mix.loss);
    return mix;
  }

  MeasuredMix run_of(const std::vector<LayerWord>& layers, double predicted) {
    const MixQuality quality = parts_.measure(parts_.decide(layers));
    ++answer_.passes;
    const double all = most_passes(answer_.question, layers_);
    if (parts_.progress) parts_.progress(static_cast<double>(answer_.passes) / all);
    return judged(layers, predicted, quality);
  }

  void add_group(std::int64_t begin, std::int64_t end) {
    MixGroup group{begin, end, {{answer_.question.base, Bytes{}, 0}}};
    for (const std::string& format : answer_.question.formats) {
      const MeasuredMix mix = run_of({{begin, end, format}}, 0);
      // Bytes are what the group saves or costs; rounding may make the loss of nothing less than 0.
      group.options.push_back(
          {format, mix.size.bytes - answer_.base.size.bytes, std::max(0.0, mix.loss.divergence)});
    }
    answer_.groups.push_back(std::move(group));
  }

  void add_uniforms() {
    for (std::size_t f = 0; f < answer_.question.formats.size(); ++f) {
      double predicted = 0;
      for (const MixGroup& group : answer_.groups) predicted += group.options[f + 1].loss;
      answer_.uniforms.push_back(run_of({{0, layers_, answer_.question.formats[f]}}, predicted));
    }
  }

  const MixParts& parts_;
  std::int64_t layers_;
  TokensPerBlock block_{0};
  MixAnswer answer_;
};

}  // namespace

MixSize mix_size(const ModelSource& source, const Decisions& decisions, bool of_weights) {
  const RankModel model = rank_model(source.card, decisions, source.stored, 0);
  MixSize size;
  size.cache = kv_bytes(model, decisions);
  size.weights = weight_bytes(model);
  size.per_token = kv_bytes_per_token(source.card, decisions);
  size.bytes = of_weights ? size.weights : size.cache;
  return size;
}

int most_passes(const MixQuestion& question, std::int64_t layers) {
  const auto groups = static_cast<int>(ceil_div(layers, question.layers_together));
  const auto formats = static_cast<int>(question.formats.size());
  return 1 + groups * formats + formats + question.most_runs;
}

MixAnswer study_mix(const MixParts& parts, const MixQuestion& question) {
  if (question.formats.empty()) {
    throw Error(ErrorCode::kUsage, "no format to choose from besides the base")
        .at("", "--formats")
        .help("e.g. int8,q4_0,kivi4,kivi2 of a cache, q8_0,q4_0 of weights");
  }
  return Study(parts, question).run();
}

}  // namespace vramplan
