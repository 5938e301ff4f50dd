// record: what a GPU does, written down once: `record --commit SHA [--out FILE] [--model GGUF]
// [--part device|rates|kernels|plans|text]... [--seconds N]`. Ends within its time: a part that
// runs out of its share names what it left out. Exit codes are those of vramplan.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>

#include "bench/gpu/plan_matrix.h"
#include "executor/calibrate_cuda.h"
#include "executor/driver_memory.h"
#include "executor/environment.h"
#include "executor/run_cuda.h"
#include "kernels/cuda/driver.h"
#include "planner/device_links.h"
#include "reports/run_json.h"

namespace vramplan::record {
namespace {

using nlohmann::json;

struct Options {
  std::string out, commit, gguf;
  std::set<std::string> parts;
  double seconds = 420;
  int device = 0;
  std::int64_t divisor = 1;  // of shapes: for the fake device only
};

const char* const kParts[] = {"device", "rates", "kernels", "plans", "text"};

class Recorder {
 public:
  Recorder(cuda::Runtime& runtime, const cuda::KernelTable& kernels, Options options)
      : runtime_(runtime), kernels_(kernels), options_(std::move(options)) {}

  json run() {
    record_["schema"] = "vramplan.gpu_record/1";
    record_["commit"] = options_.commit;
    const Environment here = this_environment("cuda", 1);
    record_["time_utc"] = here.time_utc;
    record_["host"] = {{"machine", here.machine}, {"cpu", here.cpu}, {"kernel", here.kernel}};
    // Shares of the whole time; a part may use what those before it left.
    part("device", 0.05, [this](double) { device(); });
    part("rates", 0.25, [this](double until) { rates(until); });
    part("kernels", 0.50, [this](double until) { kernels(until); });
    part("plans", 0.95, [this](double until) { plans(until); });
    part("text", 1.0, [this](double until) { text(until); });
    record_["seconds"] = clock_.now().v - begin_;
    return std::move(record_);
  }

 private:
  template <class Body>
  void part(const char* name, double share, Body&& body) {
    if (!options_.parts.empty() && options_.parts.count(name) == 0) return;
    std::fprintf(stderr, "record: %s\n", name);
    const double from = clock_.now().v;
    try {
      body(begin_ + share * options_.seconds);
    } catch (const Error& error) {
      record_["errors"].push_back({{"part", name}, {"error", error.message()}});
    }
    record_["part_seconds"][name] = clock_.now().v - from;
  }
  bool late(double until, const std::string& what) {
    if (clock_.now().v < until) return false;
    record_["left_out"].push_back(what);
    return true;
  }

  json clocks() {
    const auto c = runtime_.clocks(options_.device);
    if (!c) return nullptr;
    return {{"sm_mhz", c->sm_mhz}, {"memory_mhz", c->memory_mhz}};
  }

  /// Identity, the cost of a context and of the GEMM handle, rounding of small allocations.
  void device() {
    DriverMemory driver(runtime_, options_.device);
    const auto outside = runtime_.outside_memory(options_.device);
    runtime_.use_device(options_.device);
    const Bytes context = driver.look("context");
    runtime_.make_gemm();
    const Bytes gemm = driver.look("GEMM library");
    const cuda::DeviceProperties p = runtime_.properties(options_.device);
    json rounding = json::array();
    for (std::int64_t size = 1; size <= std::int64_t{64} << 20; size *= 8) {
      void* const data = runtime_.allocate({size});
      const Bytes grown = driver.look("allocation");
      runtime_.release(data);
      driver.look("release");
      rounding.push_back({{"bytes", size}, {"taken_bytes", grown.n}});
    }
    record_["device"] = {
        {"name", p.name},
        {"uuid", p.uuid},
        {"driver", p.driver},
        {"compute_capability", std::to_string(p.major) + "." + std::to_string(p.minor)},
        {"multiprocessors", p.multiprocessors},
        {"total_bytes", driver.last().total.n},
        {"nvml_total_bytes", outside ? json(outside->total.n) : json(nullptr)},
        {"nvml_used_before_bytes", outside ? json(outside->used().n) : json(nullptr)},
        {"context_bytes", context.n},
        {"gemm_handle_bytes", gemm.n},
        {"memory_by", driver.method()},
        {"clocks", clocks()},
        {"allocation_rounding", rounding}};
  }

  GpuBenchOptions bench_options() const {
    GpuBenchOptions options;
    options.divisor = options_.divisor;
    if (options_.divisor > 1) {
      options.pool = Bytes{128 << 20};
      options.most_calls = 2;
    }
    return options;
  }

  /// The device card of this run: its rates, and a cost line for every operation.
  void rates(double until) {
    GpuCalibrationRequest request;
    request.device = options_.device;
    request.total_seconds = std::max(1.0, until - clock_.now().v - 2);
    request.bench = bench_options();
    const Calibration c = calibrate_cuda(runtime_, kernels_, this_environment("cuda", 1), request);
    card_ = c.card;
    json lines = json::array();
    for (const CalibratedOp& op : c.ops) {
      lines.push_back({{"op", op.cost.op},
                       {"dtype", op.cost.dtype},
                       {"call_s", op.cost.call_s},
                       {"bytes_per_s", op.cost.bytes_per_s},
                       {"flops_per_s", op.cost.flops_per_s},
                       {"median_error", op.fit.median_error},
                       {"worst_error", op.fit.worst_error},
                       {"points", op.points.size()}});
    }
    record_["rates"] = {{"memory_bytes_per_s", card_.memory_bytes_per_s.value},
                        {"launch_s", card_.launch_s.value},
                        {"graph_node_bytes", card_.graph_node_bytes.value},
                        {"clocks", clocks()},
                        {"lines", lines}};
    record_["device_card"] = write_device_card(card_);
  }

  /// Kernels against copy bandwidth and the rate of a large product, measured here and now.
  void kernels(double until) {
    runtime_.use_device(options_.device);
    const cuda::DeviceProperties p = runtime_.properties(options_.device);
    GpuBench bench(runtime_, kernels_, p, bench_options());
    const double copy = bench.copy_bytes_per_s();
    const std::int64_t d = options_.divisor;
    const std::int64_t side = std::max<std::int64_t>(64, 8192 / d);
    const double gemm =
        bench.linear(DType::kBF16, side, side, side, GpuBench::kActivations).flops_per_s();
    json points = json::array();
    const auto add = [&](const GpuPoint& point, const char* what) {
      points.push_back({{"kernel", what},
                        {"dtype", info(point.work.dtype).name},
                        {"shape", point.shape},
                        {"seconds", point.seconds},
                        {"bytes", point.work.bytes},
                        {"flops", point.work.flops},
                        {"of_copy_bandwidth", copy > 0 ? point.bytes_per_s() / copy : 0},
                        {"of_gemm_rate", gemm > 0 ? point.flops_per_s() / gemm : 0}});
    };
    const auto small = [&](std::int64_t n) { return std::max<std::int64_t>(1, n / d); };
    for (const DType format : {DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
      for (const std::int64_t tokens : {1, 8}) {
        if (late(until, std::string("gemv ") + info(format).name)) break;
        const std::int64_t in = small(4096) / 256 * 256 + (d > 1 ? 256 : 0);
        add(bench.linear(format, tokens, in, small(14336), GpuBench::kActivations), "gemv");
      }
    }
    for (const DType kv : {DType::kBF16, DType::kF16, DType::kF8E4M3}) {
      if (d > 1 && kv == DType::kF8E4M3) continue;  // the fake's kernels have no fp8
      for (const std::int64_t length : {4096, 16384, 65536}) {
        for (const std::int64_t sequences : {1, 8, 32}) {
          if (length * sequences > 131072 || late(until, "attention_decode")) continue;
          add(bench.attention(kv, {32, 8, 128}, 1, small(length), sequences), "attention_decode");
        }
      }
      for (const std::int64_t queries : {1024, 8192}) {
        if (late(until, "attention_prefill")) continue;
        const std::int64_t q = std::max<std::int64_t>(2, small(queries));
        add(bench.attention(kv, {32, 8, 128}, q, q, 1), "attention_prefill");
      }
    }
    techniques(bench, until, add);
    for (const std::int64_t tokens : {1, 256, 8192}) {
      if (late(until, "elementwise")) break;
      add(bench.norm(small(tokens), 4096), "rmsnorm");
      add(bench.activation(small(tokens), small(14336)), "activation");
      add(bench.rope(small(tokens), {32, 8, 128}), "rope");
    }
    record_["kernels"] = {{"copy_bytes_per_s", copy},
                          {"gemm_flops_per_s", gemm},
                          {"clocks", clocks()},
                          {"points", points}};
  }

  /// fp8 times fp8, caches behind a residual window, and attention that adds up what blocks get.
  template <class Add>
  void techniques(GpuBench& bench, double until, const Add& add) {
    const auto small = [&](std::int64_t n) {
      return std::max<std::int64_t>(2, n / options_.divisor);
    };
    const std::int64_t in = options_.divisor > 1 ? 256 : 4096;
    for (const std::int64_t tokens : {8, 256, 4096}) {
      if (!bench.multiplies_fp8() || late(until, "linear_fp8")) continue;
      add(bench.linear_fp8(DType::kFp8Channel, small(tokens), in, small(14336) / 16 * 16),
          "linear_fp8");
    }
    struct History {
      DType dtype;
      std::int64_t stride;
    };
    for (const History h : {History{DType::kKivi2, 1}, {DType::kKivi4, 1}, {DType::kF8E4M3, 4}}) {
      if (late(until, std::string("attention_history ") + info(h.dtype).name)) continue;
      const std::int64_t length = small(16384) / 32 * 32 + 128;
      add(bench.attention_history(h.dtype, {32, 8, 128}, 1, length, 8, h.stride),
          "attention_history_decode");
      add(bench.attention_history(h.dtype, {32, 8, 128}, small(96), length, 1, h.stride),
          "attention_history_prefill");
      add(bench.kv_pack(h.dtype, {32, 8, 128}, 8, h.stride), "kv_pack");
    }
    if (late(until, "attention_mass")) return;
    const std::int64_t length = small(8192) / 16 * 16 + 16;
    add(bench.attention(DType::kBF16, {32, 8, 128}, 1, length, 8, true), "attention_mass_decode");
  }

  /// A plan with its cache on a disk needs a rate. None is timed here: its bytes are held against
  /// the run, its seconds are an assumption.
  void add_disk() {
    if (has_far_link(card_, KvPlacement::kDisk)) return;
    const auto assumed = [](double value) {
      return Sourced<double>{value, Evidence::kAssumed, "assumed: the recorder times no disk"};
    };
    card_.links.push_back({LinkKind::kNvme, assumed(3e9), assumed(1e-4)});
  }

  /// Plans and runs each case; the record holds both and the card they were made with.
  void plans(double until) {
    if (card_.name.empty()) card_ = device_card("h200-sxm-141gb");
    add_disk();
    record_["device_card"] = write_device_card(card_);
    const std::vector<PlanCase> cases =
        options_.divisor > 1 ? small_matrix() : plan_matrix(options_.gguf);
    for (const PlanCase& c : cases) {
      if (late(until, "plan " + to_json(c).dump())) continue;
      json entry = {{"case", to_json(c)}};
      try {
        const ModelSource source = source_of_case(c);
        const Plan plan = plan_case(c, source, card_);
        RunRequest request;
        request.random_weights = source.gguf == nullptr;
        request.cuda.device = options_.device;
        Measurement m = run_cuda(plan.decisions, source, card_, request, runtime_, kernels_);
        const RunRecord run = make_run(c.model, plan, std::move(m), Tolerances{});
        entry["verify"] = json::parse(verify_json(run));
        entry["clocks"] = clocks();
      } catch (const Error& error) {
        entry["error"] = error.what();
      }
      record_["plans"].push_back(std::move(entry));
    }
  }

  /// Greedy tokens of the real model here and on the CPU, 64 of them.
  void text(double until) {
    if (options_.gguf.empty() || late(until, "text")) return;
    const PlanCase c{options_.gguf, {}, "", 96, 64, 1, false};
    const ModelSource source = source_of_case(c);
    Plan plan = plan_case(c, source, card_.name.empty() ? device_card("h200-sxm-141gb") : card_);
    RunRequest request;
    request.cuda.device = options_.device;
    const Measurement gpu = run_cuda(plan.decisions, source, card_, request, runtime_, kernels_);
    const DeviceCard cpu_device = device_card("cpu-generic");
    const Plan cpu_plan = plan_case(c, source, cpu_device);
    const Measurement cpu = run_plan(cpu_plan.decisions, source, cpu_device, "cpu", {});
    std::size_t same = 0;
    while (same < 64 && gpu.output[0][same] == cpu.output[0][same]) ++same;
    record_["text"] = {{"tokens", 64},
                       {"equal_until", same},
                       {"gpu_ids", gpu.output[0]},
                       {"cpu_ids", cpu.output[0]}};
  }

  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  Options options_;
  SteadyClock clock_;
  double begin_ = clock_.now().v;
  DeviceCard card_;
  json record_;
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string flag = arguments[i];
    if (i + 1 == count) throw Error(ErrorCode::kUsage, flag + " needs a value").at("", flag);
    const std::string value = arguments[++i];
    if (flag == "--out") {
      options.out = value;
    } else if (flag == "--commit") {
      options.commit = value;
    } else if (flag == "--model") {
      options.gguf = value;
    } else if (flag == "--part") {
      if (std::find(std::begin(kParts), std::end(kParts), value) == std::end(kParts)) {
        throw Error(ErrorCode::kUsage, "no part '" + value + "'")
            .at("", flag)
            .help("device, rates, kernels, plans or text");
      }
      options.parts.insert(value);
    } else if (flag == "--seconds") {
      options.seconds = std::stod(value);
    } else if (flag == "--gpu") {
      options.device = std::stoi(value);
    } else if (flag == "--divide-shapes") {
      options.divisor = std::stoll(value);
    } else {
      throw Error(ErrorCode::kUsage, "no flag '" + flag + "'").at("", flag);
    }
  }
  if (options.commit.empty()) {
    throw Error(ErrorCode::kUsage, "a record names its commit")
        .at("", "--commit")
        .help("--commit $(git rev-parse --short=12 HEAD)");
  }
  return options;
}

int run(int count, char** arguments) {
  const Options options = parse(count, arguments);
  const std::unique_ptr<cuda::Runtime> runtime = cuda::driver().make_runtime();
  std::string why_none;
  if (runtime->device_count(why_none) <= options.device) {
    throw Error(ErrorCode::kNoDevice, "no CUDA device to record: " + why_none);
  }
  const cuda::KernelTable* const kernels = cuda::driver().kernels();
  if (kernels == nullptr) throw Error(ErrorCode::kUnsupported, "this build has no CUDA kernels");
  const std::string text = Recorder(*runtime, *kernels, options).run().dump(1) + "\n";
  if (options.out.empty()) {
    std::cout << text;
    return 0;
  }
  std::ofstream file(options.out);
  file << text;
  if (!file.flush()) throw Error(ErrorCode::kIo, "cannot write " + options.out);
  return 0;
}

}  // namespace
}  // namespace vramplan::record

int main(int count, char** arguments) {
  try {
    return vramplan::record::run(count, arguments);
  } catch (const vramplan::Error& error) {
    std::cerr << error.what() << "\n";
    return vramplan::exit_code(error.code());
  } catch (const std::exception& error) {
    std::cerr << "internal error: " << error.what() << "\n";
    return 1;
  }
}
