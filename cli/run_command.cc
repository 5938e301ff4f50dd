// run: executes a plan and measures it; text goes to stdout as it is generated.
#include <cstdio>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/execution.h"
#include "cli/report_files.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "reports/run_json.h"
#include "reports/trace_json.h"
#include "reports/verify_text.h"

namespace vramplan::cli {
namespace {

struct RunCommand {
  std::string plan, backend, capacity;
  std::string prompt, chat;
  std::optional<std::int64_t> max_tokens;
  Sampling sampling;
  std::optional<std::int64_t> beams, replicas;
  double length_penalty = 1;
  std::optional<std::uint64_t> seed;
  bool no_precheck = false;
  CudaRequest cuda;
  std::string offload_directory, trace, result_cache;
  ReportFiles files;
};

/// Only where calls return when their work is done, and in one process, is there something to see.
void require_traceable(const std::string& backend, const Decisions& decisions,
                       const std::optional<std::int64_t>& replicas) {
  const bool one = replicas.value_or(decisions.replicas) == 1;
  if (backend == "cpu" && one) return;
  throw Error(ErrorCode::kUnsupported,
              one ? "a trace of the " + backend + " backend" : "a trace of several replicas")
      .at("", "--trace")
      .help(!one                ? "--replicas 1"
            : backend == "cuda" ? "calls only enqueue there, and a replayed step is one launch of "
                                  "hundreds of kernels: nsys shows them; --backend cpu gives one"
                                : "--backend cpu gives one");
}

/// The file, and for people how much of the transfers went on beside operations.
void write_trace(const std::string& path, const Trace& trace, const std::string& name) {
  write_file(path, trace_json(trace, name));
  const std::vector<TraceSlice> slices = trace.slices();
  const TraceOverlap overlap = overlap_of(slices);
  fmt::print(stderr, "{}: {} events", path, slices.size());
  if (overlap.transfers > 0) {
    fmt::print(stderr, "; transfers {}, {} of that beside operations",
               to_text(Seconds{overlap.transfers}), to_text(Seconds{overlap.beside_operations}));
  }
  fmt::print(stderr, "\n");
}

void check_sampling(const Sampling& sampling) {
  if (!(sampling.temperature >= 0 && sampling.temperature <= 100)) {
    throw Error(ErrorCode::kUsage, "--temperature must be between 0 (greedy) and 100")
        .at("", "--temperature");
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    throw Error(ErrorCode::kUsage, "--top-p must be above 0 and at most 1").at("", "--top-p");
  }
}

TextRequest text_request(const RunCommand& options, const Session& session) {
  TextRequest text;
  if (!options.prompt.empty()) text.prompt = options.prompt;
  if (!options.chat.empty()) text.chat = options.chat;
  text.max_tokens = options.max_tokens;
  text.sampling = options.sampling;
  text.beams = options.beams;
  text.replicas = options.replicas;
  text.length_penalty = options.length_penalty;
  if (options.seed) text.sampling.seed = *options.seed;
  check_sampling(text.sampling);
  if (!(options.length_penalty >= -10 && options.length_penalty <= 10)) {
    throw Error(ErrorCode::kUsage, "--length-penalty must be between -10 and 10")
        .at("", "--length-penalty");
  }
  text.check_first = !options.no_precheck;
  text.cuda = options.cuda;
  text.offload_directory = options.offload_directory;
  text.result_cache = options.result_cache;
  if (!text.result_cache.empty() && !text.prompt && !text.chat) {
    throw Error(ErrorCode::kUsage, "results are kept of prompts, and there is none")
        .at("", "--result-cache")
        .help("give --prompt or --chat, or leave it out");
  }
  if (!session.json) text.on_text = [](const std::string& piece) { print_result(piece); };
  return text;
}

std::string cache_text(const std::optional<ResultCacheUse>& cache) {
  if (!cache) return "result cache off";
  return fmt::format("result cache on: {}, {} kept in {} of {}", cache->hit ? "found" : "not found",
                     cache->entries, to_text(cache->bytes), to_text(cache->most));
}

/// For people, after the text: what it cost.
std::string summary(const Measurement& m) {
  if (m.result_cache && m.result_cache->hit) {
    return cache_text(m.result_cache) + "; nothing was run\n";
  }
  Bytes taken;
  for (const auto& capacity : m.capacity) taken = std::max(taken, capacity.rows);
  return fmt::format(
      "{} prompt tokens in {} ({:.1f} tokens/s); {} tokens in {} steps, {} each "
      "({:.1f} tokens/s)\nresident peak {}; tensors {}; {}\n",
      m.timings.prefill_tokens, to_text(m.timings.prefill), m.timings.prefill_tokens_per_second,
      m.timings.decode_tokens, m.timings.decode_steps, to_text(m.timings.tpot),
      m.timings.decode_tokens_per_second,
      m.process_peak.n > 0 ? to_text(m.process_peak) : "not measured", to_text(taken),
      cache_text(m.result_cache));
}

int run_run(const RunCommand& options, const Session& session) {
  if (!options.backend.empty()) require_backend(options.backend);
  TextRequest text = text_request(options, session);
  Trace trace;
  if (!options.trace.empty()) text.trace = &trace;
  PlannedModel planned = reopen(read_plan_file(options.plan));
  if (!options.capacity.empty()) {
    planned.plan.decisions.capacity = parse_bytes(options.capacity, "--capacity");
  }
  if (options.seed) planned.plan.decisions.seed = *options.seed;
  const bool beams = text.beams ? *text.beams > 1 : planned.plan.decisions.beam_search;
  if (beams && text.sampling.temperature > 0) {
    throw Error(ErrorCode::kUsage, "beams take the most probable tokens: they draw none")
        .at("", "--temperature")
        .help("leave it out, or plan with --samples instead of --beams");
  }
  if (beams && !text.result_cache.empty()) {
    throw Error(ErrorCode::kUnsupported, "a result cache of beam searches")
        .at("", "--result-cache")
        .help("leave one of --result-cache and --beams out");
  }
  const std::string backend = choose_backend(options.backend, planned);
  require_runnable(backend, planned);
  if (text.trace != nullptr) {
    require_traceable(backend, planned.plan.decisions, options.replicas);
  }
  if (!options.no_precheck) require_fit(planned.plan);
  note_random_weights(planned, backend);
  Measurement measurement = execute(planned, backend, text);
  const bool has_text = text.prompt || text.chat;
  if (has_text && !session.json) print_result("\n");
  const RunRecord run = make_run(run_name(planned, backend), std::move(planned.plan),
                                 std::move(measurement), Tolerances{});
  write_reports(options.files, {run});
  if (text.trace != nullptr) write_trace(options.trace, trace, run_name(planned, backend));
  if (session.json) {
    print_result(run_json(run));
  } else if (has_text) {
    fmt::print(stderr, "{}", summary(run.measurement));
  } else {
    print_result(verify_text(run, text_options()));
  }
  return kExitFits;
}

}  // namespace

void add_run_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<RunCommand>();
  CLI::App* command = app.add_subcommand("run", "Executes a plan file and measures it");
  command->add_option("PLAN", options->plan, "plan file, from 'vramplan plan --out'")->required();
  command->add_option("--backend", options->backend,
                      "cpu, cuda or dry; default: cpu on a cpu device, else dry");
  command->add_option("--capacity", options->capacity, "bytes the run may take, e.g. 200MiB");
  command->add_flag("--no-precheck", options->no_precheck,
                    "start although it does not fit; stops at the first take that goes over");
  command
      ->add_option("--replicas", options->replicas,
                   "processes over one copy of the weights, instead of the plan's")
      ->check(CLI::Range(std::int64_t{1}, kMostReplicas));
  command->add_option("--trace", options->trace,
                      "also write a trace of passes, operations and transfers for Perfetto (cpu)");
  const char* text = "Text";
  CLI::Option* prompt =
      command->add_option("--prompt", options->prompt, "text to go on from")->group(text);
  command->add_option("--chat", options->chat, "a message; the model's chat template is put around")
      ->group(text)
      ->excludes(prompt);
  command->add_option("--max-tokens", options->max_tokens, "tokens to generate")->group(text);
  command->add_option("--temperature", options->sampling.temperature, "0 = greedy")->group(text);
  command->add_option("--top-p", options->sampling.top_p, "nucleus of the sampling")->group(text);
  command
      ->add_option("--result-cache", options->result_cache,
                   "file of answers to earlier prompts: the same request is not run again")
      ->group(text);
  command->add_option("--beams", options->beams, "beams of a search, instead of the plan's")
      ->check(CLI::Range(1, 1 << 20))
      ->group(text);
  command
      ->add_option("--length-penalty", options->length_penalty,
                   "beams: an answer of n tokens is worth log probability / n^penalty (1)")
      ->group(text);
  command->add_option("--seed", options->seed, "seed of weights, prompts and sampling")
      ->group(text);
  add_offload_flag(*command, options->offload_directory);
  add_cuda_flags(*command, options->cuda);
  add_report_flags(*command, options->files);
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.run/1), no stream");
  set_examples(*command,
               {"vramplan run plan.yaml --chat \"What is a GPU?\" --max-tokens 80",
                "vramplan run plan.yaml --backend dry --json",
                "vramplan run plan.yaml --replicas 4", "vramplan run plan.yaml --trace trace.json",
                "vramplan run plan.yaml --capacity 200MiB --no-precheck"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_run(*options, session); };
  });
}

}  // namespace vramplan::cli
