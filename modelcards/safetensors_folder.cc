// The shards of a checkpoint folder: which files, where they may lie, and whose tensors count.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "modelcards/json.h"
#include "modelcards/safetensors.h"

namespace vramplan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSuffix = ".safetensors";

bool has_suffix(const std::string& name) {
  const std::string suffix = kSuffix;
  return name.size() > suffix.size() &&
         name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool is_inside(const fs::path& path, const fs::path& root) {
  const auto [end, rest] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end();
}

/// Links are followed, but not out of the model: out of the folder, or, in a Hugging Face cache
/// (models--x/snapshots/commit), out of models--x, where the blobs are.
std::string resolve(const fs::path& folder, const std::string& name) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  const fs::path target = error ? fs::path() : fs::canonical(folder / name, error);
  if (error) {
    throw Error(ErrorCode::kFile, "cannot open: " + error.message())
        .at((folder / name).string())
        .help("fetch the missing file of the checkpoint");
  }
  const bool cached = root.parent_path().filename() == "snapshots";
  const fs::path limit = cached ? root.parent_path().parent_path() : root;
  if (!is_inside(target, limit)) {
    throw Error(ErrorCode::kBadSafetensors, "the link leads out of the model's folder")
        .at((folder / name).string())
        .help("copy the file into the folder");
  }
  return target.string();
}

/// tensor -> shard, from the index.
std::map<std::string, std::string> read_index(const fs::path& folder) {
  const auto file = open_file(resolve(folder, kIndexName));
  const JsonNode index = JsonNode::parse(read_text(*file, 64_MiB), file->name());
  const JsonNode weight_map = index.at("weight_map");
  if (!weight_map.is_object()) weight_map.fail(ErrorCode::kBadSafetensors, "is not an object");
  const std::vector<std::string> names = weight_map.keys();
  const std::vector<JsonNode> shards = weight_map.items();
  std::map<std::string, std::string> out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& shard = shards[i].text();
    const bool plain = has_suffix(shard) && shard.size() <= 255 &&
                       shard.find_first_of(std::string("/\\\0", 3)) == std::string::npos &&
                       shard.find("..") == std::string::npos;
    if (!plain) {
      shards[i].fail(ErrorCode::kBadSafetensors, "the shard name " + printable(shard) +
                                                     " is not a plain .safetensors file name");
    }
    out.emplace(names[i], shard);
  }
  return out;
}

std::vector<SafetensorsTensor> read_shards(const fs::path& folder) {
  std::map<std::string, std::string> missing = read_index(folder);
  const std::map<std::string, std::string> index = missing;
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) shards.insert(shard);
  std::vector<SafetensorsTensor> out;
  for (const std::string& shard : shards) {
    for (SafetensorsTensor& tensor : read_safetensors(*open_file(resolve(folder, shard)))) {
      const auto listed = index.find(tensor.name);
      // A tied weight may lie in two shards; the index says which one counts.
      if (listed == index.end() || listed->second != shard) continue;
      missing.erase(tensor.name);
      out.push_back(std::move(tensor));
    }
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::kBadSafetensors, "the index lists a tensor that its shard " +
                                                printable(missing.begin()->second) +
                                                " does not hold")
        .at((folder / kIndexName).string(), missing.begin()->first)
        .help("index and shards belong to different checkpoints; fetch them again");
  }
  return out;
}

}  // namespace

std::vector<SafetensorsTensor> read_safetensors_folder(const std::string& folder) {
  std::error_code error;
  if (fs::exists(fs::path(folder) / kIndexName, error)) return read_shards(folder);
  std::vector<std::string> files;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (has_suffix(name)) files.push_back(name);
  }
  if (error) throw Error(ErrorCode::kFile, "cannot list: " + error.message()).at(folder);
  const auto whole = std::find(files.begin(), files.end(), "model.safetensors");
  if (whole != files.end()) files = {*whole};
  if (files.empty()) return {};
  if (files.size() > 1) {
    throw Error(ErrorCode::kBadSafetensors,
                std::to_string(files.size()) + " .safetensors files and no " + kIndexName)
        .at(folder)
        .help("fetch the index of the checkpoint too");
  }
  return read_safetensors(*open_file(resolve(folder, files.front())));
}

}  // namespace vramplan
