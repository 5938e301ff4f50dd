#pragma once
// ResultStore: the file behind --result-cache, and what makes two requests the same.
#include <optional>
#include <string>

#include "cli/plan_options.h"
#include "executor/engine.h"
#include "executor/result_cache.h"

namespace vramplan::cli {

inline constexpr Bytes kMostResultBytes{16 << 20};

/// All that decides the tokens of a request: the model's card and file (its path, size and time of
/// change), the decisions, the backend, the prompt's ids, where answers end, and how tokens are
/// drawn; the seed too, unless the most probable token is taken, where nothing is drawn.
std::string result_key(const PlannedModel& planned, const std::string& backend,
                       const RunRequest& request);

class ResultStore {
 public:
  /// Reads the file, if there is one. Errors: kFile.
  explicit ResultStore(std::string path);
  ResultCache& cache() { return cache_; }
  ResultCacheUse use(bool hit) const {
    return {hit, cache_.entries(), cache_.bytes(), cache_.most()};
  }
  void save() const;

 private:
  std::string path_;
  ResultCache cache_;
};

}  // namespace vramplan::cli
