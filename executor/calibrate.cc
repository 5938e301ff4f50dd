#include "executor/calibrate.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "executor/backend.h"
#include "executor/beam_search.h"
#include "executor/calibrate_between.h"
#include "executor/calibrate_copy.h"
#include "executor/calibrate_disk.h"
#include "executor/calibrate_memory.h"
#include "executor/environment.h"
#include "executor/memory_speed.h"
#include "executor/process_memory.h"
#include "executor/sampler.h"

namespace vramplan {
namespace {

using namespace literals;

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Bytes last_level_cache() {
  Bytes largest;
  for (const int level : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE}) {
    largest = std::max(largest, Bytes{sysconf(level)});
  }
  return largest;
}

/// Three times the last-level cache, so that what is read next was evicted long ago; at most a
/// sixteenth of the memory the machine has to give.
Bytes pool_size(const MachineFacts& machine, bool quick) {
  const Bytes wanted = std::max(machine.last_level_cache * 3, quick ? 64_MiB : 128_MiB);
  const Bytes most = std::max(16_MiB, Bytes{machine.available.n / 16});
  return round_up(std::min({wanted, most, 1_GiB}), 4096_B);
}

template <class T>
Sourced<T> measured(T value, const std::string& source) {
  return {value, Evidence::kMeasured, source};
}

/// The best rate any linear of this format reached: what the fitted line gives at large work.
double best_flops(const std::vector<CalibratedOp>& ops, const std::string& dtype) {
  for (const auto& op : ops) {
    if (op.cost.op == "linear" && op.cost.dtype == dtype) return op.cost.flops_per_s;
  }
  return 0;
}

double call_seconds(const std::vector<CalibratedOp>& ops, const std::string& name) {
  for (const auto& op : ops) {
    if (op.cost.op == name) return op.cost.call_s;
  }
  return 0;
}

void sample_greedily(TensorView logits) {
  const Sampler greedy{Sampling{}};
  const auto columns = static_cast<std::size_t>(logits.columns);
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    const float* values = static_cast<const float*>(logits.data) + row * logits.columns;
    VRAMPLAN_CHECK(greedy.sample({values, columns}, row, 0) >= 0);
  }
}

/// Searches that never end, a beam a row. All but their first steps look at every row.
class EndlessBeams {
 public:
  void operator()(TensorView logits) {
    auto found = searches_->find(logits.rows);
    if (found == searches_->end()) {
      BeamOptions options;
      options.beams = logits.rows;
      options.output = std::int64_t{1} << 40;
      found = searches_->emplace(logits.rows, BeamSearch(options)).first;
    }
    found->second.advance(static_cast<const float*>(logits.data), logits.columns, logits.columns);
  }

 private:
  std::shared_ptr<std::map<std::int64_t, BeamSearch>> searches_ =
      std::make_shared<std::map<std::int64_t, BeamSearch>>();
};

}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.cores = usable_cores();
  facts.environment = this_environment("cpu", facts.cores);
  facts.available = machine_available();
  std::ifstream meminfo("/proc/meminfo");
  facts.total = parse_kib_field(
      {std::istreambuf_iterator<char>(meminfo), std::istreambuf_iterator<char>()}, "MemTotal");
  facts.last_level_cache = last_level_cache();
  return facts;
}

double streaming_bytes_per_s(Bytes pool, int threads, const Clock& clock, int repetitions) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(pool.n), std::byte{1});
  return reading_bytes_per_s(bytes, threads, clock, repetitions);
}

namespace {

CalibrationEffort effort_of(const MachineFacts& machine, bool quick) {
  CalibrationEffort effort;
  effort.pool = pool_size(machine, quick);
  effort.quick = quick;
  if (!quick) return effort;
  effort.rounds = 1;
  effort.point_seconds = 0.005;
  effort.least_repetitions = 3;
  effort.most_repetitions = 15;
  effort.total_seconds = 15;
  return effort;
}

/// What no operation alone shows: transfers beside computing, and passes around operations.
void time_around(Ops& ops, const Clock& clock, const CalibrationRequest& request, Bytes pool,
                 const std::string& source, Calibration& result) {
  DeviceCard& card = result.card;
  const int rounds = request.quick ? 3 : 9;
  const TierBuffer buffer(pool);
  const std::span<std::byte> memory(buffer.data(), static_cast<std::size_t>(buffer.size()));
  if (request.progress) request.progress("copies beside computing", 1);
  const CopySpeed copy = measure_copy(ops, clock, memory, rounds);
  if (copy.bytes_per_s > 0) {
    card.copy_bytes_per_s = measured(copy.bytes_per_s, source + "; one thread, median");
    card.copy_overlap =
        measured(copy.overlap, source + "; beside linear q8_0 of one token, median");
  }
  if (!request.disk_directory.empty()) {
    if (request.progress) request.progress("disk beside computing", 1);
    const DiskTiming timing{request.disk_directory, request.quick ? 32_MiB : 128_MiB, rounds,
                            memory};
    card.links.push_back(
        measure_disk(ops, clock, timing, source + "; blocks of a cache, direct I/O, checked"));
  }
  if (request.progress) request.progress("between operations", 1);
  const double between = measure_between(ops, clock, memory, rounds);
  if (between > 0) result.ops.push_back({{"between", "any", between, 0, 0}, {between}, {}});
}

}  // namespace

Calibration calibrate(const MachineFacts& machine, Ops& ops, const Clock& clock,
                      const CalibrationRequest& request) {
  CalibrationEffort effort = effort_of(machine, request.quick);
  effort.unrounded = request.unrounded;
  effort.sample_beams = request.sample_beams ? request.sample_beams : EndlessBeams();
  if (request.progress) request.progress("streaming read", 0);
  const double bandwidth =
      streaming_bytes_per_s(effort.pool, request.threads, clock, request.quick ? 5 : 15);

  Calibration result;
  result.ops =
      calibrate_ops(ops, clock, effort, request.sample_rows ? request.sample_rows : sample_greedily,
                    request.progress);
  const std::string source = fmt::format(
      "vramplan calibrate{}, commit {}, {}; {}, kernel {}, {} threads",
      request.quick ? " --quick" : "", machine.environment.commit, machine.environment.time_utc,
      machine.environment.cpu, machine.environment.kernel, request.threads);
  DeviceCard& card = result.card;
  card.name = "this-machine";
  card.title = machine.environment.cpu;
  card.kind = DeviceKind::kCpu;
  card.capacity_bytes = measured(machine.available.n, source + "; MemAvailable, control group");
  card.memory_bytes_per_s = measured(bandwidth, source + "; streaming read, median");
  card.flops_per_s["f32"] =
      measured(best_flops(result.ops, "f32"), source + "; linear f32, fitted flops term");
  const std::string attained = source + "; the rates above are attained, not peaks";
  card.memory_efficiency = measured(1.0, attained);
  card.compute_efficiency = measured(1.0, attained);
  card.multiprocessors = measured<std::int64_t>(request.threads, source);
  card.process_base_bytes =
      measured(request.process_base.n, source + "; Rss of a fresh process, median");
  if (request.replica_base.n > 0) {
    card.replica_base_bytes =
        measured(request.replica_base.n, source + "; own pages of a forked process, median");
  }
  card.launch_s = measured(call_seconds(result.ops, "add"), source + "; add, fitted call term");
  time_around(ops, clock, request, effort.pool, source, result);
  card.host_capacity_bytes = measured(machine.total.n, source + "; MemTotal");
  card.devices_per_node = measured<std::int64_t>(1, source);
  for (const auto& op : result.ops) card.op_costs.push_back(op.cost);
  validate(card);
  return result;
}

Calibration calibrate_this_machine(const CalibrationRequest& request) {
  const MachineFacts machine = machine_facts();
  const SteadyClock clock;
  const auto backend = make_cpu_backend(request.threads, machine.available);
  const auto unrounded = make_cpu_backend(request.threads, machine.available, DType::kF32);
  CalibrationRequest all = request;
  all.unrounded = &unrounded->ops();
  return calibrate(machine, backend->ops(), clock, all);
}

}  // namespace vramplan
