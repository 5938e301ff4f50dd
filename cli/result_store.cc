#include "cli/result_store.h"

#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/session.h"
#include "modelcards/file.h"

namespace vramplan::cli {
namespace {

ResultCache read_cache(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return ResultCache(kMostResultBytes);
  return ResultCache::read(read_text(*open_file(path), kMostResultBytes * 8), path,
                           kMostResultBytes);
}

/// Another file under the same name is another model.
std::string identity_of(const std::string& path) {
  std::error_code failed;
  const auto size = std::filesystem::file_size(path, failed);
  const auto changed = std::filesystem::last_write_time(path, failed);
  return fmt::format("{} {} {}", std::filesystem::weakly_canonical(path, failed).string(), size,
                     changed.time_since_epoch().count());
}

}  // namespace

std::string result_key(const PlannedModel& planned, const std::string& backend,
                       const RunRequest& request) {
  Plan decided;
  decided.decisions = planned.plan.decisions;
  const bool draws = request.sampling.temperature > 0;
  if (!draws && planned.source.gguf != nullptr) decided.decisions.seed = 0;
  std::string key = write_plan(decided);
  if (planned.source.gguf != nullptr) key += identity_of(planned.source.path);
  key += fmt::format("\n{} {}", backend, request.stop_at_end);
  for (const auto& prompt : request.prompts) key += fmt::format("\n{}", fmt::join(prompt, " "));
  key += fmt::format("\n{} {}", request.sampling.temperature, request.sampling.top_p);
  if (draws) key += fmt::format(" {}", request.sampling.seed);
  return key;
}

ResultStore::ResultStore(std::string path) : path_(std::move(path)), cache_(read_cache(path_)) {}

void ResultStore::save() const { write_file(path_, cache_.write()); }

}  // namespace vramplan::cli
