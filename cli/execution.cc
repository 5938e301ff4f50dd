#include "cli/execution.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/result_store.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "cli/warm_up.h"
#include "executor/environment.h"
#include "executor/run_cuda_replicas.h"
#include "kernels/cuda/driver.h"
#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

const std::vector<std::string> kBackends = {"cpu", "cuda", "dry"};

std::unique_ptr<Tokenizer> open_tokenizer(const ModelSource& source, bool needed) {
  if (source.gguf == nullptr) {
    if (!needed) return nullptr;
    throw Error(ErrorCode::kUsage, "text needs a tokenizer, and only a GGUF file has one")
        .at(source.path.empty() ? source.card.name : source.path)
        .help("plan with a .gguf file, or leave --prompt and --chat out");
  }
  try {
    return Tokenizer::from_gguf(*source.gguf);
  } catch (const Error& error) {
    // Without text the run does not need it; the missing tables show in the process row.
    if (needed || error.code() != ErrorCode::kUnsupported) throw;
    return nullptr;
  }
}

std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const TextRequest& text) {
  if (!text.chat) return tokenizer.encode(*text.prompt, false);
  const ChatMessage message{"user", *text.chat};
  return tokenizer.encode(tokenizer.apply_chat_template(std::span(&message, 1)), true);
}

/// The sequences of the plan, which a text replaces by one.
void keep_sequences(const Decisions& d, PlanRequest& request) {
  request.batch = d.batch;
  if (d.samples > 1 && !d.beam_search) request.samples = d.samples;
  if (d.shared_prefix.n > 0) request.shared_prefix = d.shared_prefix;
  if (d.preempt == Preempt::kNone) return;
  request.preempt =
      d.preempt == Preempt::kSwap ? PreemptRequest::kSwap : PreemptRequest::kRecompute;
  request.kv_pool = d.block * d.kv_blocks;
}

void keep_formats(const Decisions& d, PlanRequest& request) {
  request.weights = d.weights;
  request.weight_layers = d.weight_layers;
  request.kv_format = d.kv_format;
  request.kv_layers = d.kv_layers;
  request.kv_full_heads = d.kv_full_heads;
}

/// Plans again for one sequence with this prompt and output, or for those of the plan; all other
/// decisions stay.
void replan(PlannedModel& planned, std::int64_t prompt_tokens, std::int64_t output_tokens,
            bool one_sequence = true) {
  const Decisions& d = planned.plan.decisions;
  PlanRequest request;
  request.model = d.model;
  request.set = d.set;
  request.device = d.device;
  request.count = d.device_count;
  request.tp = d.sharding.tp;
  request.pp = d.sharding.pp;
  request.cp = d.sharding.cp;
  request.ep = d.sharding.ep;
  request.context = Tokens{prompt_tokens + output_tokens};
  request.output = Tokens{output_tokens};
  request.prefill_chunk = d.prefill_chunk;
  request.activation_offload = d.activation_offload;
  request.batch = d.beam_search ? d.samples : 1;
  if (d.beam_search) request.beams = d.samples;
  if (!one_sequence) keep_sequences(d, request);
  keep_formats(d, request);
  request.kv_policy = d.kv_policy;
  if (d.kv_policy == KvPolicy::kSinkWindow) {
    request.kv_sinks = d.kv_keep.sinks;
    request.kv_window = d.kv_keep.window;
  }
  if (d.kv_policy == KvPolicy::kMass) {
    request.kv_budget = d.kv_keep.budget;
    request.kv_score = d.kv_score;
  }
  if (d.kv_residual.any()) request.kv_residual = d.kv_residual.tokens;
  if (d.kv_policy == KvPolicy::kStrided) request.kv_stride = d.kv_residual.stride;
  request.kv_layout = d.kv_layout;
  if (d.kv_layout == KvLayout::kPaged) request.block_tokens = d.block.n;
  request.attention = d.attention;
  if (planned.device.kind == DeviceKind::kCpu || d.linear_inputs == DType::kF8E4M3) {
    request.linear_inputs = d.linear_inputs;
  }
  if (d.speculation.any()) {
    request.guess = d.speculation.guess;
    request.guess_tokens = d.speculation.tokens;
    request.acceptance = d.speculation.acceptance;
    request.draft = d.speculation.draft;
  }
  request.threads = d.threads;
  request.replicas = d.replicas;
  request.seed = d.seed;
  request.kv_placement = d.kv_placement;
  if (d.kv_placement != KvPlacement::kDevice) request.kv_offload_layers = d.kv_offload;
  if (d.weight_offload.layers > 0) request.weight_offload_layers = d.weight_offload;
  Plan plan = make_plan(planned.source, planned.device, request);
  plan.assumptions.clear();
  plan.decisions.capacity = d.capacity;  // may be less than any plan would be made for
  for (const auto& assumption : planned.plan.assumptions) {
    const std::string& flag = assumption.flag;  // those of the shape are settled now
    if (flag != "--context" && flag != "--output-tokens" && flag != "--batch") {
      plan.assumptions.push_back(assumption);
    }
  }
  planned.plan = std::move(plan);
}

/// The plan for the prompt's length and the number of tokens asked for. Errors: kUsage when the
/// context of the plan is too short.
void make_room(PlannedModel& planned, std::int64_t prompt_tokens,
               const std::optional<std::int64_t>& max_tokens) {
  const Decisions& decisions = planned.plan.decisions;
  const std::int64_t room = decisions.context.n - prompt_tokens;
  if (max_tokens && *max_tokens < 1) {
    throw Error(ErrorCode::kUsage, "--max-tokens must be at least 1").at("", "--max-tokens");
  }
  if (room < max_tokens.value_or(1)) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} prompt tokens and {} to generate are more than the context of {}",
                            prompt_tokens, max_tokens.value_or(1), decisions.context.n))
        .at("", "--context")
        .help("plan with a longer --context, or ask for fewer tokens");
  }
  replan(planned, prompt_tokens, max_tokens.value_or(room));
}

/// What the text asks for instead of what the plan says.
void plan_anew(PlannedModel& planned, const RunRequest& request, const TextRequest& text) {
  Decisions& decisions = planned.plan.decisions;
  if (text.replicas && *text.replicas != decisions.replicas) {
    const std::int64_t cores = planned.device.multiprocessors.value;
    decisions.threads =
        static_cast<int>(std::clamp<std::int64_t>(cores / *text.replicas, 1, decisions.threads));
    decisions.replicas = *text.replicas;
  }
  if (text.beams) {
    decisions.samples = *text.beams;
    decisions.beam_search = *text.beams > 1;
  }
  if (!request.prompts.empty()) {
    make_room(planned, static_cast<std::int64_t>(request.prompts[0].size()), text.max_tokens);
  } else if (text.max_tokens || text.beams) {
    make_room(planned, decisions.context.n - decisions.output.n,
              text.max_tokens.value_or(decisions.output.n));
  } else if (text.replicas) {
    replan(planned, (decisions.context - decisions.output).n, decisions.output.n, false);
  }
}

/// By running the plan, or with what the same request was answered before.
Measurement answer(PlannedModel& planned, const std::string& backend, const RunRequest& request,
                   const std::string& results) {
  const auto run = [&] {
    return run_plan(planned.plan.decisions, planned.source, planned.device, backend, request);
  };
  if (results.empty()) return run();
  ResultStore store(results);
  const std::string key = result_key(planned, backend, request);
  const std::vector<std::int32_t>* const known = store.cache().find(key);
  Measurement measurement;
  if (known != nullptr) {
    measurement.output = {*known};
    measurement.environment = this_environment(backend, planned.plan.decisions.threads);
    measurement.complete = true;
    for (const std::int32_t token : *known) request.on_token(0, token);
  } else {
    measurement = run();
    store.cache().insert(key, measurement.output.front());
  }
  store.save();  // a hit is the latest use
  measurement.result_cache = store.use(known != nullptr);
  return measurement;
}

}  // namespace

std::string choose_backend(const std::string& named, const PlannedModel& planned) {
  if (!named.empty()) return named;
  const bool one_cpu =
      planned.device.kind == DeviceKind::kCpu && planned.plan.decisions.sharding.ranks() == 1;
  return one_cpu ? "cpu" : "dry";
}

void require_backend(const std::string& backend) {
  if (std::find(kBackends.begin(), kBackends.end(), backend) == kBackends.end()) {
    throw Error(ErrorCode::kUsage, fmt::format("no backend '{}'", printable(backend)))
        .at("", "--backend")
        .help(one_of(backend, {"cpu", "cuda", "dry"}));
  }
  if (backend != "cuda") return;
  const CudaDevicesSeen found = cuda_devices_seen();
  const std::string other =
      "'--backend dry' runs the same scheduler and block pool on a virtual device; '--backend cpu' "
      "computes here";
  if (found.count == 0) {
    throw Error(ErrorCode::kNoDevice, "no CUDA device: " + found.why_none)
        .at("", "--backend")
        .help(other);
  }
  if (cuda::driver().kernels() == nullptr) {
    throw Error(ErrorCode::kUnsupported, "there is a CUDA device (" + found.first +
                                             "), but this build has no kernels for it")
        .at("", "--backend")
        .help("build where nvcc is installed; " + other);
  }
}

void require_runnable(const std::string& backend, const PlannedModel& planned) {
  if (backend == "dry") return;
  const Decisions& decisions = planned.plan.decisions;
  if (decisions.sharding.ranks() > 1) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the plan has {} ranks; the {} backend runs one",
                            decisions.sharding.ranks(), backend))
        .at(decisions.device, "--backend")
        .help("'--backend dry' runs all ranks, or plan for one device");
  }
  if (backend == "cuda") {
    if (planned.device.kind == DeviceKind::kGpu) return;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the plan is for {}, which is no GPU", decisions.device))
        .at(decisions.device, "--backend")
        .help("plan with the --device of this GPU; 'vramplan devices' lists the cards");
  }
  if (decisions.activations != DType::kF32) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the plan computes in {}, as {} does; the cpu backend computes in f32",
                            info(decisions.activations).name, decisions.device))
        .at(decisions.device, "--backend")
        .help("plan for a cpu (leave --device out, or name this-machine), or use '--backend dry'");
  }
}

void require_fit(const Plan& plan) {
  Bytes missing = plan.predictions.missing;
  for (const auto& device : plan.predictions.devices) {
    missing = std::max(missing, device.predicted - plan.decisions.capacity);
  }
  if (plan.predictions.fits && missing.n <= 0) return;
  throw Error(ErrorCode::kDoesNotFit,
              fmt::format("the plan does not fit: {} ({} bytes) are missing; nothing was taken",
                          to_text(missing), missing.n))
      .at(plan.decisions.model, plan.decisions.device)
      .help(plan.predictions.fits || plan.predictions.advice.empty()
                ? "give more with --capacity, or plan for less"
                : plan.predictions.advice.front());
}

void add_offload_flag(CLI::App& command, std::string& directory) {
  command.add_option("--offload-dir", directory,
                     "directory of a cache on a disk (--kv-placement disk); default: /var/tmp");
}

void add_cuda_flags(CLI::App& command, CudaRequest& cuda) {
  const char* group = "CUDA";
  command.add_option("--gpu", cuda.device, "number of the GPU, as the driver counts")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command.add_flag("!--no-graphs", cuda.graphs, "run decode steps one kernel at a time")
      ->group(group);
}

std::string run_name(const PlannedModel& planned, const std::string& backend) {
  return fmt::format("{} on {}, {}", planned.source.card.name, planned.device.name, backend);
}

void note_random_weights(PlannedModel& planned, const std::string& backend) {
  if (planned.source.gguf != nullptr || backend == "dry") return;
  planned.plan.assumptions.push_back(
      {"weight values", "random, since " + planned.source.card.name + " is no GGUF file", "MODEL"});
}

Measurement execute(PlannedModel& planned, const std::string& backend, const TextRequest& text) {
  const bool wants_text = text.prompt || text.chat;
  if (wants_text && backend == "dry") {
    throw Error(ErrorCode::kUsage, "the dry backend computes nothing, so it has no text to give")
        .at("", "--backend")
        .help("use --backend cpu or cuda, or leave --prompt and --chat out");
  }
  Bytes base;
  if (backend == "cpu") {
    base = resident_after_warm_up(planned.plan.decisions.threads) - planned.source_resident;
  }
  const Bytes before = this_process_memory().now().resident;
  const auto tokenizer = open_tokenizer(planned.source, wants_text);
  const Bytes tables = this_process_memory().now().resident - before;
  RunRequest request;
  request.sampling = text.sampling;
  request.length_penalty = text.length_penalty;
  request.random_weights = planned.source.gguf == nullptr;
  request.check_first = text.check_first;
  request.cuda = text.cuda;
  request.offload_directory = text.offload_directory;
  request.trace = text.trace;
  request.process_base = base;
  if (tokenizer != nullptr)
    request.tokenizer = planned.source_resident + std::max(Bytes{0}, tables);
  if (wants_text) request.prompts.push_back(prompt_ids(*tokenizer, text));
  request.stop_at_end = wants_text;
  plan_anew(planned, request, text);
  const InterruptScope interruptible;
  Progress progress;
  Utf8Stream stream;
  const auto give_text = [&](const std::string& piece) {
    if (!piece.empty() && text.on_text) text.on_text(piece);
  };
  request.on_token = [&](std::int64_t sequence, std::int32_t token) {
    check_interrupt();
    if (!wants_text || sequence != 0 || tokenizer->is_control(token)) return;
    progress.clear();
    give_text(stream.push(std::string(tokenizer->piece(token))));
  };
  request.on_progress = [&](const std::string& stage, double fraction) {
    check_interrupt();
    if (!wants_text || fraction < 1) progress.show(stage, fraction);
  };
  request.on_wait = [] { check_interrupt(); };
  Measurement measurement = answer(planned, backend, request, text.result_cache);
  progress.clear();
  give_text(stream.finish());
  if (wants_text && !measurement.output.empty()) {
    measurement.text = tokenizer->decode(measurement.output[0]);
  }
  return measurement;
}

}  // namespace vramplan::cli
