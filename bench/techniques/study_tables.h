#pragma once
// StudyTables: a study of mixes (planner/mix_study.h) as tables, and the mixes of several floors.
#include <functional>
#include <string>
#include <vector>

#include "bench/techniques/page.h"
#include "executor/quality.h"
#include "planner/mix_study.h"

namespace vramplan {

struct FoundMix {
  std::string floor;
  std::vector<LayerWord> layers;
};

MixQuality quality_of(const TextQuality& quality);
/// What groups lose alone over `tokens` of a text, and of each floor the flags of the smallest mix
/// that keeps it: one study, then runs for each floor.
std::vector<FoundMix> study_tables(Page& page, const MixParts& parts, const MixQuestion& question,
                                   std::size_t tokens,
                                   const std::function<std::string(const Decisions&)>& flags);

/// Head and a row of a table of formats: bytes planned and observed, their share of the first
/// row's, seconds of a step, what is lost on the text. `what` heads the names, `first` is the first
/// row.
void quality_head(Page& page, const std::string& what, const std::string& first);
struct QualityRow {
  std::string name;
  Bytes predicted, observed, first;
  Seconds step_predicted, step_observed;
  TextQuality quality;
};
void quality_row(Page& page, const QualityRow& row);

}  // namespace vramplan
