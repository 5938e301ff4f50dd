#include "executor/measurement_wire.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

Measurement sample() {
  Measurement m;
  m.observed.add({0, TierKind::kHost, Category::kKvCache, "blocks", Phase::kDecode, Bytes{77},
                  "a probe with \0 in it"});
  m.samples.push_back({{0.5}, Phase::kPrefill, "prefill chunk 3", Bytes{5}, Bytes{6}});
  m.process_peak = Bytes{123456789};
  m.timings.ttft = {0.25};
  m.timings.tpot = {0.125};
  m.timings.decode_steps = 2;
  m.timings.decode_step_seconds = {0.1, 0.15};
  m.timings.decode_terms = {{"linear", 3, {0.05}}};
  m.output = {{1, 2, 3}, {}, {4}};
  m.scores = {-1.5};
  m.preemption = PreemptionCounts{1, {2}, {3}};
  m.text = "text";
  m.complete = true;
  return m;
}

TEST(MeasurementWire, WhatIsUnpackedIsWhatWasPacked) {
  const Measurement in = sample();
  const Measurement out = unpacked_measurement(packed_measurement(in));
  EXPECT_EQ(packed_measurement(out), packed_measurement(in));
  ASSERT_EQ(out.observed.rows().size(), 1U);
  EXPECT_EQ(out.observed.rows()[0].bytes, 77_B);
  EXPECT_EQ(out.observed.rows()[0].tier, TierKind::kHost);
  EXPECT_EQ(out.samples[0].moment, "prefill chunk 3");
  EXPECT_EQ(out.timings.decode_step_seconds, in.timings.decode_step_seconds);
  EXPECT_EQ(out.timings.decode_terms[0].op, "linear");
  EXPECT_EQ(out.output, in.output);
  EXPECT_EQ(out.preemption, in.preemption);
  EXPECT_TRUE(out.complete);
}

TEST(MeasurementWire, BytesThatEndEarlyOrGoOnAreNoMeasurement) {
  const std::string bytes = packed_measurement(sample());
  for (std::size_t length = 0; length < bytes.size(); length += 7) {
    EXPECT_THROW(unpacked_measurement(bytes.substr(0, length)), Error) << length;
  }
  EXPECT_THROW(unpacked_measurement(bytes + "x"), Error);
}

}  // namespace
}  // namespace vramplan
