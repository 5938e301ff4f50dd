#include "reports/trace_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace vramplan {
namespace {

using nlohmann::json;

constexpr int kProcess = 1;

json metadata(const char* what, int thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", kProcess}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

std::string trace_json(const Trace& trace, const std::string& name) {
  const std::vector<TraceSlice> slices = trace.slices();
  Seconds first = slices.empty() ? Seconds{} : slices.front().begin;
  for (const TraceSample& sample : trace.samples()) first = std::min(first, sample.at);
  const auto microseconds = [](Seconds seconds) { return seconds.v * 1e6; };

  json events = json::array();
  events.push_back(metadata("process_name", 0, name));
  for (int track = 0; track < kTraceTracks; ++track) {
    events.push_back(metadata("thread_name", track + 1, name_of(static_cast<TraceTrack>(track))));
  }
  for (const TraceSlice& slice : slices) {
    const bool transfer = slice.track != TraceTrack::kCompute;
    json event = {{"ph", "X"},
                  {"name", slice.name},
                  {"cat", transfer     ? "transfer"
                          : slice.pass ? "pass"
                                       : "operation"},
                  {"pid", kProcess},
                  {"tid", static_cast<int>(slice.track) + 1},
                  {"ts", microseconds(slice.begin - first)},
                  {"dur", microseconds(slice.end - slice.begin)}};
    if (transfer) event["args"] = {{"bytes", slice.bytes.n}};
    events.push_back(std::move(event));
  }
  for (const TraceSample& sample : trace.samples()) {
    events.push_back({{"ph", "C"},
                      {"name", "live bytes"},
                      {"pid", kProcess},
                      {"ts", microseconds(sample.at - first)},
                      {"args",
                       {{"weights", sample.weights.n},
                        {"kv_cache", sample.kv_cache.n},
                        {"activations", sample.activations.n}}}});
  }
  const json object = {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace vramplan
