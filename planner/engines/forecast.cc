#include "planner/engines/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/engines/twin.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

EngineForecast forecast_rank(const TwinInput& in) {
  switch (in.table.kind) {
    case EngineKind::kVllm:
      return vllm_rank(in);
    case EngineKind::kSglang:
      return sglang_rank(in);
    case EngineKind::kTrtllm:
      return trtllm_rank(in);
    case EngineKind::kLlamacpp:
      return llamacpp_rank(in);
  }
  return {};
}

/// A scheduler counts blocks for all ranks alike: the rank with the fewest decides.
void share_the_least(std::vector<EngineForecast>& ranks) {
  const auto by_tokens = [](const EngineForecast& a, const EngineForecast& b) {
    return a.kv_tokens < b.kv_tokens;
  };
  const EngineForecast least = *std::min_element(ranks.begin(), ranks.end(), by_tokens);
  for (EngineForecast& rank : ranks) {
    rank.kv_tokens = least.kv_tokens;
    rank.max_concurrency = std::min(rank.max_concurrency, least.max_concurrency);
    rank.boots = rank.boots && least.boots;
  }
}

/// K and V of one layer, the longest context in 16 bits: kernels without the packed format read
/// them from there at every prefill. Source: SGLang with a 2-bit cache at 96k tokens keeps 873 MB
/// beside it (reference trap 23).
Bytes transient_bytes(const EngineSettings& settings, const EngineModel& model) {
  Bytes unpacked;
  for (const KvLayers& layers : model.kv) {
    if (settings.kv_bits >= 8) continue;
    const double stored_bits = settings.formats.kivi2
                                   ? settings.kv_bits
                                   : 8.0 * static_cast<double>(settings.formats.kv_element_bytes);
    const double elements = static_cast<double>(layers.bytes_per_token.n) * 8 / stored_bits;
    const std::int64_t tokens = layers.window > 0
                                    ? std::min(layers.window, settings.max_model_len.n)
                                    : settings.max_model_len.n;
    unpacked = std::max(unpacked, Bytes{std::llround(2 * elements * static_cast<double>(tokens))});
  }
  return unpacked + settings.transient;
}

}  // namespace

EngineOutcome forecast_engine(const ModelSource& source, const DeviceCard& device,
                              const Decisions& decisions, const EngineRequest& request) {
  const EngineTable table = engine_table(request.id);
  refuse_kv_mix(decisions, name_of(table.kind));
  refuse_weight_mix(decisions, name_of(table.kind));
  if (device.kind != DeviceKind::kGpu && table.kind != EngineKind::kLlamacpp) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no account of {} on {} exists", name_of(table.kind), device.name))
        .at("", "--engine")
        .help("name a GPU with --device, or llamacpp");
  }
  if (decisions.sharding.cp > 1 || decisions.sharding.ep > 1) {
    throw Error(ErrorCode::kUnsupported,
                "a plan of this executor's context or expert parallel "
                "ranks is no plan of an engine's")
        .at("", "--cp, --ep")
        .help("plan it with --engine: there --ep and --decode-context-parallel are the engine's");
  }
  EngineOutcome out;
  const EngineSettings settings =
      engine_settings(table, source, device, decisions, request, out.assumptions);
  for (int rank = 0; rank < decisions.sharding.ranks(); ++rank) {
    if (rank % decisions.sharding.tp != 0) {  // ranks of a stage are alike
      out.devices.push_back(out.devices.back());
      continue;
    }
    EngineModel model = engine_model(source, decisions, settings.formats, rank);
    const std::optional<DraftModel> draft =
        draft_model(source, request.draft.get(), settings.speculation, decisions, settings.formats);
    const bool beside = table.kind == EngineKind::kLlamacpp;  // a context of its own
    if (draft && !beside) add_draft(model, *draft);
    const EngineModel* drafts = draft ? &draft->model : nullptr;
    EngineForecast forecast = forecast_rank({table, device, decisions, settings, model, drafts});
    if (draft && !beside) forecast.draft = draft->model.weights;
    forecast.transient = transient_bytes(settings, model);
    forecast.starved = forecast.boots &&
                       forecast.total + forecast.transient + settings.beside > decisions.capacity;
    forecast.name = name_of(table.kind);
    forecast.version = request.id.version.empty() ? table.version : request.id.version;
    forecast.table = table.version;
    out.devices.push_back(std::move(forecast));
  }
  if (table.kind != EngineKind::kLlamacpp) share_the_least(out.devices);
  out.fits = std::all_of(out.devices.begin(), out.devices.end(),
                         [](const EngineForecast& rank) { return rank.boots; });
  return out;
}

}  // namespace vramplan
