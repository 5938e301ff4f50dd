#include "planner/capacity.h"

#include <algorithm>

#include "planner/kv_cache.h"
#include "planner/kv_mix.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;  // where the search stops
constexpr std::int64_t kMostSequences = std::int64_t{1} << 31;

/// Largest n in [low, most] with fits(n), 0 when not even `low` does. Doubles, then bisects, so
/// that no account is asked about more than twice what fits.
template <class Fits>
std::int64_t largest(std::int64_t low, std::int64_t most, Fits fits) {
  if (!fits(low)) return 0;
  std::int64_t good = low, bad = low;
  while (good == bad) {
    bad = std::min(good * 2, most);
    if (bad == good) return good;
    if (fits(bad)) good = bad;
  }
  while (bad - good > 1) {
    const std::int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

Tokens pool_tokens(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  const Bytes growing = kv_growing_bytes(stage.model, decisions) * decisions.replicas;
  Bytes left = decisions.capacity - (stage_peak(stage, decisions, kind) - growing);
  if (stage.gpu && kind == DeviceKind::kGpu) {
    // Whole pages are left for the reservation, and what does not grow with the tokens in it stays.
    const Bytes cache = kv_region_bytes(stage.model, decisions);
    const std::int64_t replicas = decisions.replicas;
    const Bytes shared =
        replicas > 1 ? stage.weights + stage.padding + stage.gpu->vectors : Bytes{};
    const Bytes reservation = reservation_bytes(stage, decisions) - shared;
    const Bytes outside =
        stage_peak(stage, decisions, kind) - round_up(reservation, kGpuPage) * replicas;
    const Bytes room{floor_div((decisions.capacity - outside).n, replicas)};  // of each
    if (room.n <= 0) return {};
    left = Bytes{floor_div(room.n, kGpuPage.n)} * kGpuPage.n - (reservation - cache);
    const Bytes own = kv_growing_bytes(stage.model, decisions);
    left = Bytes{left.n / 256 * 256} - (cache - round_up(own, Bytes{256}));
    if (mixes_windows(decisions)) left -= Bytes{256};  // each of the two pools is rounded up
    left = left * replicas;
  }
  const Bytes block = kv_device_block_bytes(stage.model, decisions) * decisions.replicas;
  if (left.n <= 0) return {};
  if (block.n == 0) return {kMostTokens};
  const Blocks blocks = Blocks{floor_div(left.n, block.n)} * decisions.replicas;
  // Of a strided history each token kept stands for `stride`.
  return decisions.block * (blocks * decisions.kv_residual.stride);
}

}  // namespace

Capacity find_capacity(const std::vector<StageAccount>& stages, const Decisions& given,
                       DeviceKind kind, const Totals& totals) {
  Decisions decisions = given;  // limits are those of sequences that keep their blocks
  decisions.preempt = Preempt::kNone;
  decisions.kv_blocks = kv_blocks(decisions);
  const auto fits = [&](const Decisions& d) { return largest_peak(stages, d, kind) <= d.capacity; };
  Capacity capacity;
  capacity.max_context = {largest(2, kMostTokens, [&](std::int64_t context) {
    return fits(with_context(decisions, Tokens{context}));
  })};
  capacity.max_sequences = largest(
      1, kMostSequences, [&](std::int64_t batch) { return fits(with_batch(decisions, batch)); });
  capacity.kv_tokens = {kMostTokens};
  for (const StageAccount& stage : stages) {
    capacity.kv_tokens = std::min(capacity.kv_tokens, pool_tokens(stage, decisions, kind));
  }
  if (totals.kv_bytes_per_token.n > 0) {
    capacity.kv_equals_weights = {ceil_div(totals.weight_bytes.n, totals.kv_bytes_per_token.n)};
  }
  return capacity;
}

}  // namespace vramplan
