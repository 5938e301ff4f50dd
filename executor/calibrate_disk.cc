#include "executor/calibrate_disk.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "executor/block_file.h"
#include "executor/cost_fit.h"
#include "executor/tier.h"

namespace vramplan {
namespace {

constexpr Bytes kPayload{128 * 1024 - BlockFile::kHeader};
constexpr std::int64_t kTogether = 32;
constexpr int kRounds = 5;

Sourced<double> measured(double value, const std::string& source) {
  return {value, Evidence::kMeasured, source};
}

}  // namespace

Link measure_disk(const std::string& directory, Bytes size, const Clock& clock,
                  const std::string& source) {
  const auto queue = make_disk_queue(static_cast<int>(kTogether));
  const Bytes record = BlockFile::record_bytes(kPayload);
  const std::int64_t records = std::max(kTogether, size.n / record.n);
  BlockFile file(*queue, {directory, kPayload, records, 0, Seconds{60}});
  const auto tier = make_host_tier(TierKind::kHost, record * kTogether);
  Region memory = tier->reserve(record * kTogether, "records of a disk's timing");
  const auto at = [&](std::int64_t i) { return memory.data + record.n * (i % kTogether); };
  std::memset(memory.data, 0x5a, static_cast<std::size_t>(memory.size.n));
  for (std::int64_t i = 0; i < records; ++i) file.write(i, at(i));
  std::vector<double> rates, single;
  std::vector<std::uint64_t> tickets(static_cast<std::size_t>(kTogether));
  for (int round = 0; round < kRounds; ++round) {
    const double begin = clock.now().v;
    for (std::int64_t first = 0; first + kTogether <= records; first += kTogether) {
      for (std::int64_t i = 0; i < kTogether; ++i) {
        tickets[static_cast<std::size_t>(i)] = file.begin_read(first + i, at(i));
      }
      for (std::int64_t i = 0; i < kTogether; ++i) {
        file.finish_read(first + i, tickets[static_cast<std::size_t>(i)], at(i));
      }
    }
    const double seconds = clock.now().v - begin;
    const std::int64_t whole = records / kTogether * kTogether;
    if (seconds > 0) rates.push_back(static_cast<double>(record.n * whole) / seconds);
    const double before = clock.now().v;
    file.read(round * 7 % records, at(0));
    single.push_back(clock.now().v - before);
  }
  tier->release(memory);
  Link link;
  link.kind = LinkKind::kNvme;
  link.bytes_per_s = measured(rates.empty() ? 0 : median_of(std::move(rates)), source);
  link.latency_s = measured(median_of(std::move(single)), source);
  return link;
}

}  // namespace vramplan
