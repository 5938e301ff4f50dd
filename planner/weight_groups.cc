// The rows of the ledger that a rank's weights are: see weight_groups in weights.h.
#include <fmt/format.h>

#include <algorithm>

#include "planner/weight_offload.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

constexpr Bytes kArenaAlignment{256};

/// With how many of each are on the device.
template <class Visit>
void for_each_tensor(const RankModel& model, Visit visit) {
  for (const WeightTensor& tensor : model.outside) visit(tensor, std::int64_t{1});
  for (const LayerKind& kind : model.kinds) {
    for (const WeightTensor& tensor : kind.tensors) {
      visit(tensor, is_streamed_tensor(tensor) ? kind.count - kind.streamed : kind.count);
    }
  }
}

/// Of a tensor whose row is told apart by format.
std::optional<DType> row_format(const RankModel& model, const WeightTensor& tensor) {
  const bool layers = tensor.group == "attention" || tensor.group == "feed_forward";
  return model.mixed_weights && layers ? std::optional(tensor.dtype) : std::nullopt;
}

}  // namespace

std::string GroupBytes::row() const {
  return dtype ? fmt::format("{} {}", group, info(*dtype).name) : group;
}

std::vector<GroupBytes> weight_groups(const RankModel& model) {
  std::vector<GroupBytes> groups;
  for (const char* name : kWeightGroups) {
    const std::size_t first = groups.size();
    for_each_tensor(model, [&](const WeightTensor& tensor, std::int64_t count) {
      if (tensor.group != name || count == 0) return;
      const std::optional<DType> dtype = row_format(model, tensor);
      const auto known =
          std::find_if(groups.begin() + static_cast<std::ptrdiff_t>(first), groups.end(),
                       [&](const GroupBytes& group) { return group.dtype == dtype; });
      if (known == groups.end()) {
        groups.push_back({name, tensor.bytes() * count, count, dtype});
        return;
      }
      known->bytes += tensor.bytes() * count;
      known->tensors += count;
    });
  }
  const Bytes staging = weight_staging_bytes(model);
  if (staging.n > 0) groups.push_back({"staging", staging, model.weight_staging});
  return groups;
}

Bytes weight_bytes(const RankModel& model) {
  Bytes total = weight_staging_bytes(model);
  for_each_tensor(model, [&](const WeightTensor& tensor, std::int64_t count) {
    total += tensor.bytes() * count;
  });
  return total;
}

Bytes arena_padding(const RankModel& model) {
  Bytes total;
  for_each_tensor(model, [&](const WeightTensor& tensor, std::int64_t count) {
    const Bytes bytes = tensor.bytes();
    total += (round_up(bytes, kArenaAlignment) - bytes) * count;
  });
  return total;
}

}  // namespace vramplan
