// calibrate: measures this machine, or a GPU of it, into a device card.
#include <filesystem>

#include <fmt/format.h>

#include "cli/calibrate_json.h"
#include "cli/commands.h"
#include "cli/execution.h"
#include "cli/fresh_process.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/usage.h"
#include "cli/warm_up.h"
#include "executor/calibrate.h"
#include "executor/calibrate_cuda.h"
#include "executor/environment.h"
#include "kernels/cuda/driver.h"

namespace vramplan::cli {
namespace {

struct CalibrateOptions {
  std::string out;
  std::optional<int> threads;
  bool quick = false;
  std::string offload_directory;
  std::string backend = "cpu";
  CudaRequest cuda;
};

std::string rate_text(double per_s, double unit, const char* word) {
  return per_s > 0 ? fmt::format("{:.2f} {}", per_s / unit, word) : std::string("-");
}

std::string table(const Calibration& result, const std::string& path) {
  std::string text = fmt::format(
      "{}\n  capacity      {}\n  process base  {}\n  read          {:.1f} GB/s\n\n"
      "{:<18} {:<5} {:>10} {:>14} {:>16} {:>8} {:>8}\n",
      result.card.title, to_text(Bytes{result.card.capacity_bytes.value}),
      to_text(Bytes{result.card.process_base_bytes.value}),
      result.card.memory_bytes_per_s.value / 1e9, "operation", "dtype", "call", "memory", "compute",
      "error", "worst");
  for (const auto& op : result.ops) {
    text += fmt::format("{:<18} {:<5} {:>7.2f} us {:>14} {:>16} {:>6.1f} % {:>6.1f} %\n",
                        op.cost.op, op.cost.dtype, op.cost.call_s * 1e6,
                        rate_text(op.cost.bytes_per_s, 1e9, "GB/s"),
                        rate_text(op.cost.flops_per_s, 1e9, "Gflop/s"), 100 * op.fit.median_error,
                        100 * op.fit.worst_error);
  }
  return text + "\nwritten to " + path + "\n";
}

Calibration calibrate_cpu(const CalibrateOptions& options, const CalibrationProgress& progress) {
  CalibrationRequest request;
  request.threads = options.threads.value_or(machine_facts().cores);
  request.quick = options.quick;
  request.disk_directory = options.offload_directory;
  const FreshProcess fresh = measure_fresh_process(request.threads);
  request.process_base = fresh.base;
  request.replica_base = fresh.replica;
  request.progress = progress;
  return calibrate_this_machine(request);
}

Calibration calibrate_gpu(const CalibrateOptions& options, const CalibrationProgress& progress) {
  require_backend("cuda");
  const std::unique_ptr<cuda::Runtime> runtime = cuda::driver().make_runtime();
  GpuCalibrationRequest request;
  request.device = options.cuda.device;
  request.quick = options.quick;
  request.progress = progress;
  return calibrate_cuda(*runtime, *cuda::driver().kernels(), this_environment("cuda", 1), request);
}

int run_calibrate(const CalibrateOptions& options, const Session& session) {
  if (options.threads && *options.threads < 1) {
    throw Error(ErrorCode::kUsage, "--threads must be at least 1").at("", "--threads");
  }
  const bool gpu = options.backend == "cuda";
  if (!gpu && options.backend != "cpu") {
    throw Error(ErrorCode::kUsage,
                fmt::format("'{}' cannot be calibrated", printable(options.backend)))
        .at("", "--backend")
        .help("cpu or cuda");
  }
  const std::string usual = gpu ? this_gpu_path() : this_machine_path();
  const std::string path = options.out.empty() ? usual : options.out;
  const InterruptScope interruptible;
  Progress progress;
  const CalibrationProgress show = [&progress](const std::string& stage, double fraction) {
    check_interrupt();
    progress.show("calibrate: " + stage, fraction);
  };
  const Calibration result = gpu ? calibrate_gpu(options, show) : calibrate_cpu(options, show);
  progress.clear();
  if (options.out.empty()) {
    std::error_code failed;  // write_file says it better than this would
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  }
  write_file(path, write_device_card(result.card));
  print_result(session.json ? calibration_json(result, path) : table(result, path));
  return kExitFits;
}

}  // namespace

void add_calibrate_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App* command = app.add_subcommand("calibrate", "Measures this machine into a device card");
  command->add_option("--out", options->out,
                      "the card; default: where plan looks for this-machine or this-gpu");
  command->add_option("--threads", options->threads, "threads of the cpu backend; default: all");
  command->add_option("--offload-dir", options->offload_directory,
                      "also time the disk of this directory, for --kv-placement disk");
  command->add_option("--backend", options->backend, "cpu: this machine; cuda: a GPU of it");
  command->add_option("--gpu", options->cuda.device, "number of the GPU, as the driver counts");
  command->add_flag("--quick", options->quick, "fewer points and repetitions, larger errors");
  command->add_flag("--json", session.json, "result as JSON");
  set_examples(*command, {"vramplan calibrate", "vramplan calibrate --quick --out machine.yaml",
                          "vramplan calibrate --backend cuda",
                          "vramplan plan model.gguf --device this-machine"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_calibrate(*options, session); };
  });

  // What a fresh process of this program holds before it opens a model; calibrate starts it.
  auto threads = std::make_shared<int>(1);
  CLI::App* base = app.add_subcommand("process-base", "")->group("");
  base->add_option("THREADS", *threads, "threads of the cpu backend")->required();
  base->callback([threads, &session] {
    session.command = [threads] {
      const Bytes resident = resident_after_warm_up(*threads);
      print_result(fmt::format("{} {}\n", resident.n, own_bytes_of_replica(*threads).n));
      return kExitFits;
    };
  });
}

}  // namespace vramplan::cli
