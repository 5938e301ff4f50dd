#include "cli/engine_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "cli/model_names.h"
#include "modelcards/library.h"
#include "planner/engines/attention_windows.h"
#include "planner/engines/command.h"
#include "planner/kv_mix.h"
#include "planner/serving.h"

namespace vramplan::cli {
namespace {

constexpr const char* kEngine = "Inference engine";

std::optional<Tokens> tokens_of(const std::string& text, const char* flag) {
  if (text.empty()) return std::nullopt;
  return parse_tokens(text, flag);
}

/// What the engine stores and how.
void add_format_flags(CLI::App& command, EngineOptions& o) {
  command.add_option("--dtype", o.dtype, "the engine's: auto float16 bfloat16 float32")
      ->group(kEngine);
  command
      .add_option("--engine-kv-cache-dtype", o.kv_cache_dtype,
                  "the engine's cache format: auto fp8 q8_0 ...")
      ->group(kEngine);
  command
      .add_option("--quantization", o.quantization,
                  "how the engine stores linear layers: none fp8 awq gptq mxfp4 ...")
      ->group(kEngine);
  command
      .add_option("--quantized-parts", o.quantized_parts,
                  "which matrices the checkpoint quantises: all feed_forward experts")
      ->group(kEngine);
  command
      .add_flag("--enforce-eager,--disable-cuda-graph", o.eager,
                "the engine captures no CUDA graphs")
      ->group(kEngine);
  command
      .add_flag("--no-flash-attention", o.no_flash_attention, "llama.cpp without flash attention")
      ->group(kEngine);
}

/// What lies beside the decoder's own account.
void add_beside_flags(CLI::App& command, EngineOptions& o) {
  command
      .add_option("--tower-weights", o.tower,
                  "weights beside the decoder that the card does not hold, e.g. a vision tower")
      ->group(kEngine);
  command
      .add_option("--beside-bytes", o.beside,
                  "memory other processes hold on each device, e.g. another engine")
      ->group(kEngine);
  command
      .add_option("--transient-bytes", o.transient,
                  "memory taken and given back while serving, e.g. a pool of prefill graphs")
      ->group(kEngine);
  command
      .add_option("--tower-positions", o.tower_positions,
                  "llama.cpp: patches of the largest image its projector encodes")
      ->check(CLI::Range(1, 1 << 24))
      ->group(kEngine);
  command.add_option("--tower-heads", o.tower_heads, "llama.cpp: heads of that encoder")
      ->check(CLI::Range(1, 1 << 16))
      ->group(kEngine);
}

void add_expert_flag(CLI::App& command, EngineOptions& o) {
  command
      .add_option("--ep", o.expert_parallel,
                  "of the tensor ranks, the engine's too, those that share whole experts (1)")
      ->check(CLI::Range(1, 65536))
      ->group(kEngine);
  command
      .add_option("--attention-dp", o.attention_dp,
                  "groups of the engine's tensor ranks that attend requests of their own (1)")
      ->check(CLI::Range(1, 65536))
      ->group(kEngine);
  command
      .add_option("--decode-context-parallel", o.context_parallel,
                  "of the engine's tensor ranks, those that share the tokens of one cache (1)")
      ->check(CLI::Range(1, 65536))
      ->group(kEngine);
}

/// The requests that serving times are for.
void add_load_flags(CLI::App& command, EngineOptions& o) {
  command.add_option("--input-tokens", o.input_tokens, "prompt of a request, for serving times")
      ->group(kEngine);
  command.add_option("--concurrency", o.concurrency, "requests at once, for serving times")
      ->group(kEngine);
  command
      .add_option("--arrival", o.arrival,
                  "how requests arrive, for serving times: spread equal steady static")
      ->group(kEngine);
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineOptions& o) {
  command
      .add_option("--engine", o.engine,
                  "what vllm, sglang, trtllm or llamacpp would reserve, e.g. vllm@0.19.0")
      ->group(kEngine);
  command
      .add_option("--gpu-memory-utilization,--mem-fraction-static", o.memory_fraction,
                  "the engine's memory fraction, by its own meaning")
      ->group(kEngine);
  command.add_option("--max-model-len", o.max_model_len, "longest sequence of the engine, tokens")
      ->group(kEngine);
  command
      .add_option("--max-num-batched-tokens", o.max_num_batched_tokens,
                  "most tokens of one engine step (llama.cpp: ubatch)")
      ->group(kEngine);
  command.add_option("--max-num-seqs", o.max_num_seqs, "most sequences of the engine")
      ->group(kEngine);
  command
      .add_option("--max-attention-window", o.attention_windows,
                  "trtllm: tokens that the layers keep, a list that repeats, e.g. 512,512,8192")
      ->group(kEngine);
  command
      .add_option("--kv-cache-memory-bytes", o.kv_cache_memory,
                  "cache of the engine on each device, instead of the fraction")
      ->group(kEngine);
  add_format_flags(command, o);
  add_beside_flags(command, o);
  add_expert_flag(command, o);
  add_load_flags(command, o);
}

bool has_engine_settings(const EngineOptions& o) {
  return o.memory_fraction || !o.max_model_len.empty() || o.max_num_seqs ||
         !o.max_num_batched_tokens.empty() || !o.kv_cache_memory.empty() ||
         !o.attention_windows.empty() || o.dtype != "auto" || !o.kv_cache_dtype.empty() ||
         o.quantization != "none" || o.quantized_parts != "all" || !o.arrival.empty() ||
         !o.beside.empty() || !o.transient.empty() || o.tower_positions > 0 || o.tower_heads > 0 ||
         o.no_flash_attention || !o.input_tokens.empty() || o.concurrency ||
         o.expert_parallel > 1 || o.attention_dp > 1 || o.context_parallel > 1 || o.eager ||
         !(o.speculation == Speculation{});
}

namespace {

Speculation speculation_of(const Speculation& asked) {
  const bool drafts = parse_speculation(asked.method) != SpeculationMethod::kNone;
  if (!drafts && asked.acceptance) {
    throw Error(ErrorCode::kUsage, "guesses that are kept, and nothing that guesses")
        .at("", "--speculate-acceptance")
        .help("add --speculate METHOD:K, of ngram draft mtp eagle eagle3 medusa");
  }
  if (drafts && asked.tokens < 1) {
    throw Error(ErrorCode::kUsage, "an engine is told how many tokens it drafts")
        .at("", "--speculate")
        .help(fmt::format("--speculate {0}:K; engines are often started with mtp:1, eagle3:3, "
                          "draft:5",
                          asked.method));
  }
  return asked;
}

}  // namespace

void move_experts(EngineOptions& engine, PlanOptions& plan) {
  if (!engine.engine.empty() || engine.expert_parallel == 1) return;
  plan.ep = std::exchange(engine.expert_parallel, 1);
}

void move_speculation(PlanOptions& plan, EngineOptions& engine) {
  const AskedGuesses asked = asked_guesses(plan);
  engine.speculation = {asked.method, asked.tokens, plan.draft, plan.acceptance};
  plan.speculate.clear();
  plan.draft.clear();
  plan.acceptance.reset();
}

void open_draft(EngineRequest& request) {
  const Speculation& s = request.speculation;
  if (s.model.empty()) return;
  const SpeculationMethod method = parse_speculation(s.method);
  if (method == SpeculationMethod::kDraft) {
    request.draft = std::make_shared<const ModelSource>(open_model(card_for(s.model, "--draft")));
    return;
  }
  // A head's published name stands for no card: its shape follows the model then.
  const std::vector<std::string> cards = model_card_names();
  const bool card = std::find(cards.begin(), cards.end(), s.model) != cards.end();
  const bool shaped = method == SpeculationMethod::kEagle || method == SpeculationMethod::kEagle3;
  if (shaped && (card || std::filesystem::exists(s.model))) {
    request.draft = std::make_shared<const ModelSource>(open_model(s.model));
  }
}

std::optional<EngineRequest> engine_request(const EngineOptions& o) {
  if (o.engine.empty()) {
    if (!has_engine_settings(o)) return std::nullopt;
    if (o.expert_parallel > 1) {
      throw Error(ErrorCode::kUnsupported, "this executor has no expert parallelism")
          .at("", "--ep")
          .help("plan it for an engine: add --engine vllm, sglang or trtllm");
    }
    throw Error(ErrorCode::kUsage, "a flag of an inference engine without --engine")
        .at("", "--engine")
        .help("add --engine vllm@0.19.0, or another of vllm sglang trtllm llamacpp");
  }
  EngineRequest request;
  request.id = parse_engine(o.engine);
  request.memory_fraction = o.memory_fraction;
  request.max_model_len = tokens_of(o.max_model_len, "--max-model-len");
  request.max_num_batched_tokens = tokens_of(o.max_num_batched_tokens, "--max-num-batched-tokens");
  request.max_num_seqs = o.max_num_seqs;
  if (!o.kv_cache_memory.empty()) {
    request.kv_cache_memory = parse_bytes(o.kv_cache_memory, "--kv-cache-memory-bytes");
  }
  if (!o.tower.empty()) request.tower = parse_bytes(o.tower, "--tower-weights");
  if (!o.beside.empty()) request.beside = parse_bytes(o.beside, "--beside-bytes");
  if (!o.transient.empty()) request.transient = parse_bytes(o.transient, "--transient-bytes");
  if ((o.tower_positions > 0) != (o.tower_heads > 0)) {
    throw Error(ErrorCode::kUsage, "a tower needs its positions and its heads")
        .at("", "--tower-positions, --tower-heads");
  }
  request.tower_shape = {o.tower_positions, o.tower_heads};
  request.dtype = o.dtype;
  if (!o.kv_cache_dtype.empty()) request.kv_cache_dtype = o.kv_cache_dtype;
  request.quantization = o.quantization;
  request.quantized_parts = o.quantized_parts;
  if (!o.attention_windows.empty()) {
    request.attention_windows =
        parse_attention_windows(o.attention_windows, "--max-attention-window");
  }
  request.expert_parallel = o.expert_parallel;
  request.attention_dp = o.attention_dp;
  request.context_parallel = o.context_parallel;
  request.eager = o.eager;
  request.speculation = speculation_of(o.speculation);
  open_draft(request);
  request.flash_attention = !o.no_flash_attention;
  return request;
}

void follow_engine(const EngineOptions& engine, PlanOptions& plan) {
  if (!engine.engine.empty() && plan.context.empty()) plan.context = engine.max_model_len;
}

void follow_plan_cache(const EngineOptions& options, const PlanOptions& asked,
                       const Decisions& decisions, EngineRequest& request) {
  if (!options.kv_cache_dtype.empty()) return;
  if (!asked.kv_layers.empty()) refuse_kv_mix(decisions, name_of(request.id.kind));
  if (asked.kv_format.empty()) return;
  request.kv_cache_dtype = engine_kv_word(request.id.kind, decisions.kv_format);
}

void add_forecast(const EngineRequest& request, PlannedModel& planned, EngineVerdict verdict) {
  Plan& plan = planned.plan;
  plan.engine = engine_decision(request);
  EngineOutcome outcome = forecast_engine(planned.source, planned.device, plan.decisions, request);
  for (std::size_t i = 0; i < outcome.devices.size(); ++i) {
    plan.predictions.devices[i].engine = outcome.devices[i];
  }
  for (Assumption& assumption : outcome.assumptions) {
    plan.assumptions.push_back(std::move(assumption));
  }
  const EngineForecast& first = outcome.devices.front();
  const std::string sentence = fmt::format(
      "{}@{}: weights {}, activations {}, others {}, {} for the cache: {} tokens", first.name,
      first.version, to_text(first.weights), to_text(first.activations + first.compute),
      to_text(first.non_torch), to_text(first.kv), first.kv_tokens.n);
  if (verdict == EngineVerdict::kDecides) {
    plan.predictions.fits = outcome.fits;
    plan.predictions.binding_constraint = sentence;
  } else if (!outcome.fits) {
    plan.predictions.fits = false;
    plan.predictions.binding_constraint = sentence + "; no room for one sequence";
  }
}

void add_serving(const EngineOptions& options, const EngineRequest& request,
                 PlannedModel& planned) {
  if (!options.concurrency) return;
  const Decisions& d = planned.plan.decisions;
  ServingLoad load;
  load.output = d.output;
  load.input = tokens_of(options.input_tokens, "--input-tokens").value_or(d.context - d.output);
  load.concurrency = *options.concurrency;
  const std::string arrival = options.arrival.empty() ? "spread" : options.arrival;
  load.arrival = parse_arrival(arrival);
  Plan& plan = planned.plan;
  plan.engine->serving = ServingDecision{load.input, load.output, load.concurrency, arrival};
  Predictions& p = plan.predictions;
  p.serving =
      forecast_serving(planned.source, planned.device, d, request, *p.devices.front().engine, load);
  if (d.sharding.pp > 1) {
    plan.assumptions.push_back({"serving times of a pipeline",
                                "formed from those of its stages; no measurement was beside them",
                                "--pp"});
  }
  if (request.expert_parallel > 1) {
    plan.assumptions.push_back({"serving times of shared experts",
                                "fitted to ranks that hold a part of every expert", "--ep"});
  }
  if (request.attention_dp > 1) {
    plan.assumptions.push_back({"serving times of attention groups",
                                "fitted to ranks that all attend the same requests",
                                "--attention-dp"});
  }
}

void restore_forecast(PlannedModel& planned) {
  const Decisions& d = planned.plan.decisions;
  const std::optional<EngineDecision>& kept = planned.plan.engine;
  if (!kept) return;
  Predictions& p = planned.plan.predictions;
  EngineRequest request = engine_request(*kept);
  open_draft(request);
  const EngineOutcome outcome = forecast_engine(planned.source, planned.device, d, request);
  for (std::size_t i = 0; i < std::min(outcome.devices.size(), p.devices.size()); ++i) {
    p.devices[i].engine = outcome.devices[i];
  }
  if (!kept->serving) return;
  const ServingDecision& asked = *kept->serving;
  ServingLoad load{asked.input, asked.output, asked.concurrency};
  load.arrival = parse_arrival(asked.arrival);
  p.serving =
      forecast_serving(planned.source, planned.device, d, request, outcome.devices.front(), load);
}

}  // namespace vramplan::cli
