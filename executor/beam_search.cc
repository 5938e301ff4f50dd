#include "executor/beam_search.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// log(sum(exp(logits))), in double. Errors: kInternal.
double log_sum(const float* logits, std::int64_t vocab) {
  const double largest = static_cast<double>(*std::max_element(logits, logits + vocab));
  double sum = 0;
  for (std::int64_t i = 0; i < vocab; ++i)
    sum += std::exp(static_cast<double>(logits[i]) - largest);
  const double result = largest + std::log(sum);
  if (std::isfinite(result)) return result;
  throw Error(ErrorCode::kInternal, "a beam's logits are no numbers to choose by")
      .help("the weights or the cache are damaged; check the model file");
}

}  // namespace

BeamSearch::BeamSearch(BeamOptions options) : options_(std::move(options)) {
  VRAMPLAN_CHECK(options_.beams >= 1 && options_.output >= 1);
  beams_.resize(static_cast<std::size_t>(options_.beams));
}

double BeamSearch::worth(double sum, std::int64_t tokens) const {
  return sum / std::pow(static_cast<double>(tokens), options_.length_penalty);
}

bool BeamSearch::is_end(std::int32_t token) const {
  const auto& ends = options_.end_tokens;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

/// The best goings-on of all beams, best first: as many as leave every beam one should all ends be
/// among them.
std::vector<BeamSearch::Candidate> BeamSearch::candidates(const float* logits, std::int64_t stride,
                                                          std::int64_t vocab) const {
  const std::int64_t ends = static_cast<std::int64_t>(options_.end_tokens.size());
  const auto most = static_cast<std::size_t>(options_.beams * (1 + ends));
  const std::int64_t rows = made_ == 0 ? 1 : options_.beams;
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.sum != b.sum) return a.sum > b.sum;
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  std::vector<Candidate> heap;  // the worst of the kept is on top
  for (std::int64_t beam = 0; beam < rows; ++beam) {
    const float* row = logits + beam * stride;
    const double base = beams_[static_cast<std::size_t>(beam)].sum - log_sum(row, vocab);
    for (std::int64_t token = 0; token < vocab; ++token) {
      const Candidate candidate{base + static_cast<double>(row[token]), beam,
                                static_cast<std::int32_t>(token)};
      if (heap.size() == most) {
        if (!better(candidate, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

std::vector<BeamStep> BeamSearch::advance(const float* logits, std::int64_t stride,
                                          std::int64_t vocab) {
  VRAMPLAN_CHECK(!done_);
  const std::int64_t ends = static_cast<std::int64_t>(options_.end_tokens.size());
  if (vocab < options_.beams * (1 + ends)) {
    throw Error(ErrorCode::kUsage, std::to_string(options_.beams) + " beams over a vocabulary of " +
                                       std::to_string(vocab))
        .at("", "--beams");
  }
  const std::vector<Candidate> all = candidates(logits, stride, vocab);
  const auto beams = static_cast<std::size_t>(options_.beams);
  const bool last = made_ + 1 == options_.output;
  std::vector<Candidate> chosen;
  for (std::size_t i = 0; i < all.size(); ++i) {
    // An end that is not among the best is worth no more than what goes on.
    if (i < beams && (last || is_end(all[i].token))) end(all[i]);
    if (!is_end(all[i].token) && chosen.size() < beams) chosen.push_back(all[i]);
  }
  std::vector<BeamStep> steps = go_on(chosen);
  ++made_;
  double best = beams_.front().sum;
  for (const Beam& beam : beams_) best = std::max(best, beam.sum);
  const bool full = ended_.size() == beams;
  done_ = last || (full && worth(best, made_) <= ended_.back().score);
  return steps;
}

void BeamSearch::end(const Candidate& candidate) {
  Hypothesis hypothesis{beams_[static_cast<std::size_t>(candidate.beam)].tokens,
                        worth(candidate.sum, made_ + 1)};
  hypothesis.tokens.push_back(candidate.token);
  const auto place =
      std::upper_bound(ended_.begin(), ended_.end(), hypothesis,
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  ended_.insert(place, std::move(hypothesis));
  if (static_cast<std::int64_t>(ended_.size()) > options_.beams) ended_.pop_back();
}

/// The first that goes on from a beam takes its place, others the places of beams that end here.
std::vector<BeamStep> BeamSearch::go_on(const std::vector<Candidate>& chosen) {
  VRAMPLAN_CHECK(chosen.size() == beams_.size());
  std::vector<const Candidate*> at(beams_.size(), nullptr);
  std::vector<const Candidate*> others;
  for (const Candidate& candidate : chosen) {
    const auto place = static_cast<std::size_t>(candidate.beam);
    if (at[place] == nullptr)
      at[place] = &candidate;
    else
      others.push_back(&candidate);
  }
  auto other = others.begin();
  std::vector<Beam> next;
  std::vector<BeamStep> steps;
  for (std::size_t place = 0; place < at.size(); ++place) {
    const Candidate& candidate = at[place] != nullptr ? *at[place] : **other++;
    next.push_back(beams_[static_cast<std::size_t>(candidate.beam)]);
    next.back().tokens.push_back(candidate.token);
    next.back().sum = candidate.sum;
    // Before the first step all caches are alike: nothing moves.
    steps.push_back(
        {made_ == 0 ? static_cast<std::int64_t>(place) : candidate.beam, candidate.token});
  }
  beams_ = std::move(next);
  return steps;
}

std::vector<Hypothesis> BeamSearch::best() const {
  if (!ended_.empty()) return ended_;
  std::vector<Hypothesis> running;
  for (const Beam& beam : beams_) running.push_back({beam.tokens, worth(beam.sum, made_)});
  std::stable_sort(running.begin(), running.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  return running;
}

}  // namespace vramplan
