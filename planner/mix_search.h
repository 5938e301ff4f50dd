#pragma once
// MixSearch: which format each group of layers gets, so that what they hold (the KV cache, or the
// weights) is as small as a floor of quality lets it be. Measuring is the caller's, and so is what
// the word of a format means: here is what is measured, what follows from it and what is tried
// next.
//
// The loss of a choice is taken to be the sum of what each group loses alone (mean KL divergence of
// the next token's distribution, in nats). It is an assumption: errors of one layer reach the next
// ones, so what is chosen is run, and what the run loses is held against the floor. KL is also what
// the logarithm of the perplexity rises by in the mean, over text that the unmodified model would
// write; a floor in perplexity is searched by KL, whose noise over few tokens is far smaller, and
// judged in perplexity.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "modelcards/units.h"
#include "planner/layer_words.h"

namespace vramplan {

/// What a choice loses against the base, that nothing is lost in: nats, both.
struct MixLoss {
  double divergence = 0;       // mean KL of the next token's distribution
  double perplexity_rise = 0;  // ln(perplexity / perplexity of the base); may be below 0
};

/// "kl:0.02" or "perplexity:+1%".
struct QualityFloor {
  bool perplexity = false;
  double nats = 0;  // the most that may be lost
  double of(const MixLoss& loss) const {
    return perplexity ? loss.perplexity_rise : loss.divergence;
  }
  bool keeps(const MixLoss& loss) const { return of(loss) <= nats; }
};
/// Errors: kUsage naming `flag` and the form; a floor is above 0 and below 10 nats or 1000 %.
QualityFloor parse_quality_floor(const std::string& text, const std::string& flag);
/// What parse_quality_floor reads.
std::string text_of(const QualityFloor& floor);

/// One format that a group of layers may have.
struct MixOption {
  std::string format;
  Bytes bytes;      // of the group, or what it takes more or less than another format
  double loss = 0;  // mean KL when the group alone has this format
};
struct MixGroup {
  std::int64_t begin = 0, end = 0;  // layers of the card
  std::vector<MixOption> options;   // at least one
};
/// An option of each group, and their sums.
struct MixChoice {
  Bytes bytes;
  double loss = 0;
  std::vector<std::size_t> options;
};
/// The choices that no other one beats in both bytes and loss, by growing bytes. Exact: group after
/// group, of all choices with the same bytes the one with the least loss goes on, and what a choice
/// of fewer bytes and no more loss beats does not. Bytes are few different integers, so that their
/// sums are few, too.
std::vector<MixChoice> mix_front(const std::vector<MixGroup>& groups);

/// The layers of a choice and their formats.
std::vector<LayerWord> layers_of(const std::vector<MixGroup>& groups, const MixChoice& choice);

/// A choice that was run.
struct MixRun {
  MixChoice choice;
  MixLoss loss;
  bool keeps = false;
};
struct MixFound {
  std::optional<std::size_t> best;  // of runs: the smallest that keeps the floor; none: no run did
  std::vector<MixRun> runs;         // in the order they were made
};
/// Runs choices of the front until the smallest that keeps the floor is found between two
/// neighbours, or `most_runs` were made: first the smallest whose predicted loss is within it, then
/// what the ratio of measured and predicted loss points to, or the neighbour of what is known. The
/// last of the front has the least loss; where even that misses, nothing is found.
MixFound find_mix(const std::vector<MixChoice>& front, const QualityFloor& floor, int most_runs,
                  const std::function<MixLoss(const MixChoice&)>& run);

}  // namespace vramplan
