#pragma once
// BeamSearch: the hypotheses of one prompt: which tokens of which beams go on, and which have
// ended. It sees logits and says steps; it knows nothing of caches. Scores are sums of log
// probabilities; an ended hypothesis of n tokens, its end included, is worth sum / n^penalty.
#include <cstdint>
#include <utility>
#include <vector>

namespace vramplan {

struct BeamOptions {
  std::int64_t beams = 1, output = 1;    // tokens of a hypothesis at most
  std::vector<std::int32_t> end_tokens;  // empty: every hypothesis has `output` tokens
  double length_penalty = 1;
};

/// What a beam does next: it goes on from the tokens of beam `parent`. A beam that others go on
/// from also goes on from itself, so that its cache stays where it is.
struct BeamStep {
  std::int64_t parent = 0;
  std::int32_t token = 0;
};

struct Hypothesis {
  std::vector<std::int32_t> tokens;
  double score = 0;
};

class BeamSearch {
 public:
  explicit BeamSearch(BeamOptions options);

  /// Logits of `vocab` tokens a beam, `stride` apart; the first call reads one row, since all beams
  /// are alike then. Gives a step a beam. Equal scores: the lower beam, then the lower id.
  /// Errors: kUsage when the vocabulary is too small for the beams; kInternal for logits that are
  /// no numbers.
  std::vector<BeamStep> advance(const float* logits, std::int64_t stride, std::int64_t vocab);
  /// No running hypothesis can be worth more than the ended ones (if it ended now), or all have
  /// their tokens.
  bool done() const { return done_; }
  std::int64_t beam_count() const { return options_.beams; }
  /// At most `beams`, best first; running ones only while none has ended.
  std::vector<Hypothesis> best() const;

 private:
  struct Beam {
    std::vector<std::int32_t> tokens;
    double sum = 0;
  };
  struct Candidate {
    double sum;
    std::int64_t beam;
    std::int32_t token;
  };
  std::vector<Candidate> candidates(const float* logits, std::int64_t stride,
                                    std::int64_t vocab) const;
  bool is_end(std::int32_t token) const;
  void end(const Candidate& candidate);
  std::vector<BeamStep> go_on(const std::vector<Candidate>& chosen);
  double worth(double sum, std::int64_t tokens) const;

  BeamOptions options_;
  std::vector<Beam> beams_;
  std::vector<Hypothesis> ended_;  // best first
  std::int64_t made_ = 0;          // tokens of each running hypothesis
  bool done_ = false;
};

}  // namespace vramplan
