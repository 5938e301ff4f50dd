#include "executor/trace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "executor/run_local.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

TraceSlice slice(TraceTrack track, double begin, double end, bool pass = false) {
  return {track, pass, "x", {begin}, {end}, {}};
}

TEST(Trace, OverlapIsWhatTransfersAndOperationsShare) {
  const TraceTrack compute = TraceTrack::kCompute, stream = TraceTrack::kKvStream;
  Trace trace;
  trace.add(slice(stream, 2, 6));
  trace.add(slice(compute, 0, 10, true));  // a pass is no operation
  trace.add(slice(compute, 0, 1));
  trace.add(slice(compute, 1, 3));
  trace.add(slice(compute, 4, 5));
  trace.add(slice(stream, 8, 9));
  const auto slices = trace.slices();
  EXPECT_TRUE(slices.front().pass) << "what is around others comes first";
  const TraceOverlap overlap = overlap_of(slices);
  EXPECT_DOUBLE_EQ(overlap.transfers, 5);
  EXPECT_DOUBLE_EQ(overlap.beside_operations, 2);
}

/// A model of five layers of which three have their cache on the host.
std::vector<TraceSlice> trace_of_a_run(Trace& trace) {
  ModelCard card = tiny_card(5);
  card.hidden = 256;
  for (Layer& layer : card.layers) layer.feed_forward.intermediate = 512;
  Decisions d = tiny_decisions(card, 256, 24, 2);
  d.prefill_chunk = Tokens{64};
  d.kv_placement = KvPlacement::kHost;
  d.kv_offload = KvOffload{2, 2};
  RunRequest request;
  request.random_weights = true;
  request.process_base = 1_B;
  request.trace = &trace;
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  run_local(d, source_of(card), device, request,
            [](Bytes bytes) { return make_cpu_backend(1, bytes); });
  return trace.slices();
}

TEST(Trace, ARunShowsPassesOperationsInsideThemAndTransfersBesideThem) {
  Trace trace;
  const std::vector<TraceSlice> slices = trace_of_a_run(trace);
  std::int64_t passes = 0, operations = 0, fetches = 0, stores = 0;
  const TraceSlice* pass = nullptr;
  for (const TraceSlice& s : slices) {
    EXPECT_LE(s.begin, s.end);
    if (s.track == TraceTrack::kKvStream) {
      EXPECT_GT(s.bytes.n, 0);
      ++(s.name.rfind("fetch host layer ", 0) == 0 ? fetches : stores);
    } else if (s.pass) {
      pass = &s;
      ++passes;
    } else {
      ASSERT_NE(pass, nullptr);
      EXPECT_GE(s.begin, pass->begin);
      EXPECT_LE(s.end, pass->end) << s.name << " in " << pass->name;
      ++operations;
    }
  }
  EXPECT_EQ(passes, 2 * 4 + 23);  // four chunks a prompt, 23 steps
  EXPECT_GT(operations, passes * 5 * 8);
  EXPECT_EQ(fetches, 3 * (2 * 3 + 23));  // three layers; a prompt's first chunk has nothing there
  EXPECT_GE(stores, 3 * (passes - 1));   // the last may still be on its way
  EXPECT_EQ(static_cast<std::int64_t>(trace.samples().size()), passes);
  EXPECT_GT(trace.samples().back().kv_cache, trace.samples().front().kv_cache);
}

TEST(Trace, ATransferGoesOnWhileAnOperationRuns) {
  for (int attempt = 0; attempt < 25; ++attempt) {  // of a machine that may be busy
    Trace trace;
    const TraceOverlap overlap = overlap_of(trace_of_a_run(trace));
    EXPECT_GT(overlap.transfers, 0);
    EXPECT_LE(overlap.beside_operations, overlap.transfers);
    if (overlap.beside_operations > 0) return;
  }
  ADD_FAILURE() << "no transfer beside an operation in 25 runs";
}

}  // namespace
}  // namespace vramplan
