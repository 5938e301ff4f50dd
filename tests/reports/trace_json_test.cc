#include "reports/trace_json.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

namespace vramplan {
namespace {

TEST(TraceJson, SaysWhatHappenedInMicrosecondsFromTheFirstEventOn) {
  Trace trace;
  trace.add({TraceTrack::kCompute, true, "decode step 1", {100.0}, {100.5}, {}});
  trace.add({TraceTrack::kCompute, false, "linear", {100.1}, {100.2}, {}});
  trace.add({TraceTrack::kWeightStream, false, "layer \"3\"", {100.15}, {100.25}, Bytes{4096}});
  trace.add(TraceSample{{100.5}, Bytes{1}, Bytes{2}, Bytes{3}});
  const auto document = nlohmann::json::parse(trace_json(trace, "a model"));
  std::map<std::string, int> kinds;
  std::map<std::string, nlohmann::json> events;
  for (const auto& event : document.at("traceEvents")) {
    ++kinds[event.at("ph").get<std::string>()];
    EXPECT_EQ(event.at("pid"), 1);
    if (event.at("ph") == "X") events[event.at("name").get<std::string>()] = event;
  }
  EXPECT_EQ(kinds["M"], 1 + kTraceTracks);
  EXPECT_EQ(kinds["X"], 3);
  EXPECT_EQ(kinds["C"], 1);
  EXPECT_EQ(events["decode step 1"]["ts"], 0.0);
  EXPECT_NEAR(events["decode step 1"]["dur"].get<double>(), 5e5, 1e-3);
  EXPECT_NEAR(events["linear"]["ts"].get<double>(), 1e5, 1e-3);
  EXPECT_EQ(events["linear"]["cat"], "operation");
  EXPECT_EQ(events["layer \"3\""]["args"]["bytes"], 4096);
  EXPECT_NE(events["layer \"3\""]["tid"], events["linear"]["tid"]);
}

TEST(TraceJson, AnEmptyTraceIsADocument) {
  const auto document = nlohmann::json::parse(trace_json(Trace(), ""));
  EXPECT_EQ(document.at("traceEvents").size(), 1U + kTraceTracks);
}

}  // namespace
}  // namespace vramplan
