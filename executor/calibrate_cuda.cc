#include "executor/calibrate_cuda.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "executor/driver_memory.h"
#include "executor/process_memory.h"
#include "kernels/cuda/workspace.h"

namespace vramplan {
namespace {

constexpr AttentionHeads kHeads[] = {{9, 3, 64}, {32, 8, 128}};

class GpuCalibration {
 public:
  GpuCalibration(GpuBench& bench, const GpuCalibrationRequest& request)
      : bench_(bench), request_(request) {}

  std::vector<CalibratedOp> run() {
    const DType formats[] = {DType::kBF16, DType::kF16,  DType::kQ8_0, DType::kQ4_0,
                             DType::kQ4_1, DType::kQ4_K, DType::kQ6_K};
    const DType caches[] = {DType::kBF16, DType::kF16, DType::kF32};
    const double steps = static_cast<double>(std::size(formats) + std::size(caches) + 1);
    double done = 0;
    const auto step = [&](const std::string& stage) {
      if (request_.progress) request_.progress(stage, done++ / steps);
    };
    for (const DType format : formats) {
      step(std::string("linear ") + info(format).name);
      linear(format);
    }
    for (const DType cache : caches) {
      step(std::string("attention ") + info(cache).name);
      attention(cache);
    }
    step("norm, rope, activation, add, embed");
    elementwise();
    std::vector<CalibratedOp> ops;
    for (const auto& [key, points] : points_) {
      const CostFit line = fit_cost(points);
      ops.push_back(
          {{key.first, key.second, line.call_s, line.bytes_per_s, line.flops_per_s}, line, points});
    }
    return ops;
  }

 private:
  std::int64_t scaled(std::int64_t n, std::int64_t granule) const {
    const std::int64_t divisor = request_.bench.divisor;
    return divisor == 1 ? n : std::max<std::int64_t>(1, n / divisor / granule) * granule;
  }
  bool late() const { return clock_.now().v - begin_ > request_.total_seconds; }

  /// A point of its line unless time is up; a line keeps at least one.
  template <class Measure>
  void point(const char* op, const char* dtype, Measure&& measure) {
    std::vector<CostPoint>& points = points_[{op, dtype}];
    if (!points.empty() && late()) return;
    const GpuPoint p = measure();
    if (p.seconds > 0) points.push_back({p.work.bytes, p.work.flops, p.seconds});
  }

  void linear(DType format) {
    const bool own_kernel = is_block_quantised(format) || packed_rule(format) != nullptr;
    struct Shape {
      std::int64_t in, out;
    };
    for (const Shape shape :
         {Shape{512, 1536}, Shape{4096, 4096}, Shape{4096, 14336}, Shape{14336, 4096}}) {
      const std::int64_t in = scaled(shape.in, 256), out = scaled(shape.out, 32);
      for (const std::int64_t tokens : {1, 2, 4, 8}) {
        if (request_.quick && tokens % 8 > 1) continue;
        point("linear_decode", info(format).name,
              [&] { return bench_.linear(format, tokens, in, out, GpuBench::kActivations); });
      }
      for (const std::int64_t tokens : {16, 64, 256, 1024, 4096}) {
        if (request_.quick && (tokens == 16 || tokens == 256)) continue;
        if (own_kernel && tokens < cuda::kDequantTokens) continue;  // few plans have such a pass
        const std::int64_t rows = std::max(scaled(tokens, 1), cuda::kDequantTokens + 1);
        if (format == DType::kF16) {
          point("linear", info(format).name,
                [&] { return bench_.linear(format, rows, in, out, DType::kF16); });
        } else {
          point("linear", info(format).name,
                [&] { return bench_.linear(format, rows, in, out, GpuBench::kActivations); });
        }
      }
    }
  }

  void attention(DType cache) {
    for (AttentionHeads heads : kHeads) {
      for (const std::int64_t length : {256, 2048, 16384, 65536}) {
        const std::int64_t kv = scaled(length, 16);
        for (const std::int64_t sequences : {1, 8}) {
          if (request_.quick && sequences == 8 && length > 2048) continue;
          if (length * sequences > 131072) continue;
          point("attention_decode", info(cache).name,
                [&] { return bench_.attention(cache, heads, 1, kv, sequences); });
        }
      }
      for (const std::int64_t queries : {128, 1024, 4096}) {
        for (const std::int64_t before : {0, 4096}) {
          const std::int64_t q = std::max<std::int64_t>(2, scaled(queries, 1));
          point("attention_prefill", info(cache).name, [&] {
            return bench_.attention(cache, heads, q, scaled(before, 16) * (before > 0) + q, 1);
          });
        }
      }
      for (const std::int64_t tokens : {1, 64, 4096}) {
        point("kv_write", info(cache).name,
              [&] { return bench_.kv_write(cache, heads, scaled(tokens, 1)); });
      }
    }
  }

  void elementwise() {
    for (const std::int64_t tokens : {1, 8, 256, 4096}) {
      const std::int64_t rows = scaled(tokens, 1), narrow = scaled(4096, 64);
      const std::int64_t wide = scaled(14336, 64);
      point("norm", "any", [&] { return bench_.norm(rows, narrow); });
      point("rope", "any", [&] { return bench_.rope(rows, {32, 8, 128}); });
      point("activation", "any", [&] { return bench_.activation(rows, wide); });
      point("add", "any", [&] { return bench_.add(rows, narrow); });
      point("embed", "any", [&] { return bench_.embed(DType::kBF16, rows, narrow); });
    }
  }

  GpuBench& bench_;
  const GpuCalibrationRequest& request_;
  SteadyClock clock_;
  double begin_ = clock_.now().v;
  std::map<std::pair<std::string, std::string>, std::vector<CostPoint>> points_;
};

/// "NVIDIA H200" -> "nvidia-h200".
std::string card_name(const std::string& device) {
  std::string name;
  for (const char c : device) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  return name + "-measured";
}

template <class T>
Sourced<T> measured(T value, const std::string& source) {
  return {value, Evidence::kMeasured, source};
}

Link link(LinkKind kind, double bytes_per_s, double latency_s, const std::string& source) {
  return {kind, measured(bytes_per_s, source), measured(latency_s, source)};
}

/// What every number of the card was measured with.
std::string source_of(cuda::Runtime& runtime, const cuda::DeviceProperties& device,
                      const Environment& environment, const GpuCalibrationRequest& request) {
  const auto clocks = runtime.clocks(request.device);
  return fmt::format("vramplan calibrate --backend cuda{}, commit {}, {}; {}, CUDA driver {}, {}",
                     request.quick ? " --quick" : "", environment.commit, environment.time_utc,
                     device.name, device.driver,
                     clocks ? fmt::format("SM clock {} MHz, memory clock {} MHz at the end",
                                          clocks->sm_mhz, clocks->memory_mhz)
                            : "clocks unknown");
}

/// The cost lines; one that no device could be as steep as has no such term.
std::vector<OpCost> cost_lines(const std::vector<CalibratedOp>& ops) {
  constexpr double kSteepest = 1e18;
  std::vector<OpCost> lines;
  for (const CalibratedOp& op : ops) {
    OpCost cost = op.cost;
    if (cost.bytes_per_s > kSteepest) cost.bytes_per_s = 0;
    if (cost.flops_per_s > kSteepest) cost.flops_per_s = 0;
    lines.push_back(cost);
  }
  return lines;
}

/// What is measured beside the operations.
struct GpuRates {
  double copy = 0, read = 0, to_device = 0, to_host = 0;  // bytes per second
  double launch = 0;                                      // seconds
  Bytes graph_node;
  std::int64_t graph_nodes = 0;  // of the graph it was measured with
};

GpuRates rates_of(GpuBench& bench) {
  GpuRates rates;
  rates.copy = bench.copy_bytes_per_s();
  rates.read = bench.read_bytes_per_s();
  rates.to_device = bench.bus_bytes_per_s(true);
  rates.to_host = bench.bus_bytes_per_s(false);
  rates.launch = bench.launch_seconds();
  return rates;
}

double best_product(const std::vector<CalibratedOp>& ops) {
  double best = 0;
  for (const CalibratedOp& op : ops) {
    if (op.cost.op != "linear" || op.cost.dtype != "bf16") continue;
    for (const CostPoint& p : op.points) best = std::max(best, p.flops / p.seconds);
  }
  return best;
}

void add_rates(const GpuRates& rates, const std::string& source, DeviceCard& card) {
  card.memory_bytes_per_s =
      measured(std::max(rates.copy, rates.read), source + "; the better of copy and read");
  const std::string attained = source + "; the rates above are attained, not peaks";
  card.memory_efficiency = measured(1.0, attained);
  card.compute_efficiency = measured(1.0, attained);
  card.launch_s = measured(rates.launch, source + "; spacing of small kernels in a graph");
  card.graph_node_bytes = measured(
      rates.graph_node.n,
      source + fmt::format("; growth by a graph of {} small kernels, per node", rates.graph_nodes));
  card.links.push_back(
      link(LinkKind::kHbm, rates.copy, rates.launch, source + "; device copy, read and write"));
  card.links.push_back(
      link(LinkKind::kPcie, rates.to_device, rates.launch,
           source + fmt::format("; pinned, to the device; back {:.1f} GB/s", rates.to_host / 1e9)));
}

}  // namespace

Calibration calibrate_cuda(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
                           const Environment& environment, const GpuCalibrationRequest& request) {
  const auto stage = [&](const char* what) {
    if (request.progress) request.progress(what, 0);
  };
  stage("context");
  DriverMemory driver(runtime, request.device);
  runtime.use_device(request.device);
  const Bytes context = driver.look("context");
  const cuda::DeviceProperties device = runtime.properties(request.device);
  runtime.make_gemm();
  Bytes modules = driver.look("GEMM library");
  const Bytes host = this_process_memory().now().resident;

  Calibration result;
  DeviceCard& card = result.card;
  GpuRates rates;
  {
    GpuBench bench(runtime, kernels, device, request.bench);
    driver.look("pool");
    stage("memory and bus");
    // First of all, while the driver keeps no memory of earlier graphs.
    modules += bench.load_small_kernel([&] { return driver.look("first kernel"); });
    const Bytes graph =
        bench.graph_bytes(request.graph_nodes, [&] { return driver.look("a graph"); });
    driver.look("the graph given back");
    rates = rates_of(bench);
    rates.graph_nodes = request.graph_nodes;
    rates.graph_node = Bytes{graph.n / request.graph_nodes};
    result.ops = GpuCalibration(bench, request).run();
    modules += driver.look("all kernels");
  }
  const std::string source = source_of(runtime, device, environment, request);
  card.name = card_name(device.name);
  card.title = device.name;
  card.kind = DeviceKind::kGpu;
  card.capacity_bytes = measured(driver.last().total.n, source + "; cudaMemGetInfo total");
  card.flops_per_s["bf16"] = measured(best_product(result.ops), source + "; best bf16 product");
  card.multiprocessors = measured<std::int64_t>(device.multiprocessors, source);
  card.context_bytes = measured(context.n, source + "; growth at the context, " + driver.method());
  card.module_bytes =
      measured(modules.n, source + "; growth by the GEMM handle and all kernels that were timed");
  card.workspace_bytes = measured(cuda::gemm_workspace_bytes(device.major).n,
                                  source + "; taken for cuBLASLt by this program");
  card.process_base_bytes =
      measured(host.n, source + "; resident bytes of this process with context and GEMM handle");
  card.comm_bytes = {0, Evidence::kAssumed, "not measured: one GPU needs no communicator"};
  card.host_capacity_bytes = measured(machine_facts().total.n, source + "; MemTotal");
  card.devices_per_node = measured<std::int64_t>(1, source);
  add_rates(rates, source, card);
  card.op_costs = cost_lines(result.ops);
  validate(card);
  return result;
}

}  // namespace vramplan
