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

}  // namespace vramplan
