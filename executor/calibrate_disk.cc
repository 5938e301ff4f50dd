#include "executor/calibrate_disk.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "executor/calibrate_copy.h"
#include "executor/cost_fit.h"
#include "executor/kv_stream.h"
#include "executor/tier.h"

namespace vramplan {
namespace {

constexpr Bytes kRecord{16 * 1024};  // 16 tokens of three heads of 64 in f16, and larger ones alike
constexpr std::int64_t kBlocks = 128, kFew = 8, kStaging = 2;  // of a layer; layers

Sourced<double> measured(double value, const std::string& source) {
  return {value, Evidence::kMeasured, source};
}

/// seconds = first + size * rest, through two points; neither below zero.
struct Line {
  double first = 0, rest = 0;
};
Line line_through(double small, double small_seconds, double large, double large_seconds) {
  Line line;
  line.rest = std::max(0.0, (large_seconds - small_seconds) / (large - small));
  line.first = std::max(0.0, small_seconds - small * line.rest);
  return line;
}

/// Layers of blocks on the disk, and staging for two of them.
class DiskBench {
 public:
  DiskBench(const Clock& clock, const DiskTiming& timing)
      : clock_(clock),
        timing_(timing),
        layers_(std::max<std::int64_t>(kStaging, timing.size.n / (kRecord.n * kBlocks))),
        tier_(make_host_tier(TierKind::kHost, kRecord * (kStaging * kBlocks))),
        far_(make_disk_far(shape())) {
    memory_ = tier_->reserve(kRecord * (kStaging * kBlocks), "records of a disk's timing");
    std::memset(memory_.data, 0x5a, static_cast<std::size_t>(memory_.size.n));
    pass(0, kBlocks);
  }
  ~DiskBench() {
    far_.reset();
    tier_->release(memory_);
  }
  DiskBench(const DiskBench&) = delete;
  DiskBench& operator=(const DiskBench&) = delete;

  /// Every layer: blocks that come in, then blocks that go out; the writes of the last two layers
  /// are waited for by the next pass.
  void pass(std::int64_t in, std::int64_t out) {
    const std::vector<std::int32_t> fetched = blocks(in), stored = blocks(out);
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      std::byte* const staged =
          memory_.data + (kRecord * (layer % kStaging * kBlocks)).n + BlockFile::kHeader;
      far_->fetch(layer, fetched, staged);
      if (out > 0) far_->store(layer, stored, staged);
    }
  }
  /// Median seconds of a layer.
  double layer_seconds(std::int64_t in, std::int64_t out) {
    std::vector<double> seconds;
    for (int round = 0; round < timing_.rounds; ++round) {
      pass(1, 0);  // what was written before is done
      const double begin = clock_.now().v;
      pass(in, out);
      seconds.push_back((clock_.now().v - begin) / static_cast<double>(layers_));
    }
    return median_of(std::move(seconds));
  }

 private:
  KvStreamShape shape() const {
    KvStreamShape shape;
    shape.placement = KvPlacement::kDisk;
    shape.layers = layers_;
    shape.staging = kStaging;
    shape.part = kRecord - Bytes{BlockFile::kHeader};
    shape.blocks = Blocks{kBlocks};
    shape.directory = timing_.directory;
    return shape;
  }
  static std::vector<std::int32_t> blocks(std::int64_t count) {
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(count));
    std::iota(blocks.begin(), blocks.end(), 0);
    return blocks;
  }

  const Clock& clock_;
  const DiskTiming& timing_;
  std::int64_t layers_;
  std::unique_ptr<Tier> tier_;
  std::unique_ptr<KvFar> far_;
  Region memory_;
};

}  // namespace

Link measure_disk(Ops& ops, const Clock& clock, const DiskTiming& timing,
                  const std::string& source) {
  DiskBench bench(clock, timing);
  const auto bytes = [](std::int64_t blocks) { return static_cast<double>((kRecord * blocks).n); };
  const double all = bench.layer_seconds(kBlocks, 0);
  const Line read = line_through(bytes(kFew), bench.layer_seconds(kFew, 0), bytes(kBlocks), all);
  const double one = bench.layer_seconds(kBlocks, 1) - all;
  const double few = bench.layer_seconds(kBlocks, kFew) - all;
  const Line write = line_through(bytes(1), one, bytes(kFew), few);
  const BesideComputing beside =
      measure_beside(ops, clock, timing.weights, timing.rounds, [&] { bench.pass(kBlocks, 1); });
  // A difference that noise took away is that of reading.
  const auto rate = [&](const Line& line) { return 1 / (line.rest > 0 ? line.rest : read.rest); };
  Link link;
  link.kind = LinkKind::kNvme;
  link.bytes_per_s = measured(rate(read), source);
  link.latency_s = measured(read.first, source);
  link.write_bytes_per_s = measured(rate(write), source + ", while others are read");
  link.write_latency_s = measured(write.first, source + ", while others are read");
  link.overlap = measured(beside.overlap, source + "; beside linear q8_0 of one token, median");
  return link;
}

}  // namespace vramplan
