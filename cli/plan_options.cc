#include "cli/plan_options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "cli/kv_options.h"
#include "cli/model_names.h"
#include "executor/process_memory.h"
#include "modelcards/file.h"
#include "modelcards/library.h"
#include "planner/engines/speculation.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan::cli {
namespace {

constexpr Bytes kMostPlanBytes = 16_MiB;
constexpr std::int64_t kMostAsked = 1024;  // guesses a step
constexpr const char* kPlace = "Hardware and sharding";

[[noreturn]] void fail_choice(const std::string& flag, const std::string& value,
                              const std::vector<std::string>& allowed) {
  const auto nearest = nearest_names(value, allowed);
  std::string all;
  for (const auto& name : allowed) all += (all.empty() ? "" : " ") + name;
  Error error(ErrorCode::kUsage, fmt::format("{} does not know '{}'", flag, printable(value)));
  error.at("", flag);
  error.help(nearest.empty() ? "one of: " + all
                             : fmt::format("did you mean {}? one of: {}", nearest.front(), all));
  throw error;
}

std::optional<DType> read_weights(const std::string& text) {
  if (text.empty() || text == "stored") return std::nullopt;
  if (const auto dtype = weight_format_from(text)) return dtype;
  fail_choice("--weights", text, weight_format_names());
}

std::optional<KvFormat> read_kv_format(const std::string& text) {
  if (text.empty()) return std::nullopt;
  if (const auto format = kv_format_from(text)) return format;
  fail_choice("--kv-cache-dtype", text, kv_format_names());
}

/// One of the `count` values of an enum, by its name.
template <class Enum>
std::optional<Enum> read_choice(const char* flag, const std::string& text, int count) {
  if (text.empty()) return std::nullopt;
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    names.emplace_back(name_of(static_cast<Enum>(i)));
    if (text == names.back()) return static_cast<Enum>(i);
  }
  fail_choice(flag, text, names);
}

std::optional<DType> read_linear_inputs(const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (const DType dtype : {DType::kI8, DType::kF32, DType::kF8E4M3}) {
    if (dtype_from_name(text) == dtype) return dtype;
  }
  fail_choice("--linear-inputs", text, {"int8", "f32", "fp8"});
}

std::optional<Tokens> read_tokens(const std::string& text, const std::string& flag) {
  if (text.empty()) return std::nullopt;
  return parse_tokens(text, flag);
}

struct OpenedModel {
  ModelSource source;
  Bytes resident;
};

OpenedModel open_measured(const std::string& model, const std::vector<std::string>& set,
                          const std::string& assume_like = {}, const std::string& draft = {}) {
  const Bytes before = this_process_memory().now().resident;
  ModelSource source = open_model(model, assume_like);
  if (!draft.empty()) source.draft = std::make_shared<const ModelSource>(open_model(draft));
  const Bytes after = this_process_memory().now().resident;
  for (const auto& assignment : set) set_field(source.card, assignment);
  validate(source.card);
  return {std::move(source), std::max(Bytes{0}, after - before)};
}

template <class Number>
void require_positive(const std::optional<Number>& value, const std::string& flag) {
  if (!value || *value >= 1) return;
  throw Error(ErrorCode::kUsage, fmt::format("{} must be at least 1, not {}", flag, *value))
      .at("", flag);
}

void add_format_flags(CLI::App& command, PlanOptions& o) {
  command
      .add_option("--weights", o.weights, "weight format, e.g. fp16 q8_0; stored = as published")
      ->group(kFormats);
  command
      .add_option("--weight-layers", o.weight_layers,
                  "layers whose matrices have another: 0-3:q8_0,29:stored")
      ->group(kFormats);
  add_kv_flags(command, o);
  command
      .add_flag("--activation-offload", o.activation_offload,
                "prefill layer by layer; a prompt's hidden states wait in host memory")
      ->group(kFormats);
  command
      .add_option("--weight-offload", o.weight_offload,
                  "share of the layers' matrices that live in host memory and come in for each "
                  "pass, e.g. 0.5")
      ->group(kFormats);
  command.add_option("--attention", o.attention, "tiled, or naive (materialises the scores)")
      ->group(kFormats);
  command
      .add_option("--assume-like", o.assume_like,
                  "read a config.json of an unknown family as this model_type")
      ->group(kFormats);
  command
      .add_option("--linear-inputs", o.linear_inputs,
                  "quantised weights: on a CPU int8 rounds inputs to 8-bit codes, f32 keeps them; "
                  "fp8 weights: fp8 rounds a row of inputs to e4m3")
      ->group(kFormats);
  command.add_option("--set", o.set, "path=value on the model card, e.g. layers.kv_heads=64")
      ->take_all()
      ->expected(1)
      ->group(kFormats);
}

}  // namespace

KvPlacement read_kv_placement(const std::string& text) {
  const auto placement = read_choice<KvPlacement>("--kv-placement", text, kKvPlacements);
  return placement.value_or(KvPlacement::kDevice);
}

void add_plan_flags(CLI::App& command, PlanOptions& o) {
  command.add_option("--device", o.device, "device card, path of one, or this-machine")
      ->group(kPlace);
  command.add_option("--count", o.count, "number of devices")->group(kPlace);
  command.add_option("--tp", o.tp, "tensor parallel ranks")->group(kPlace);
  command.add_option("--pp", o.pp, "pipeline stages")->group(kPlace);
  command.add_option("--cp", o.cp, "context parallel ranks: planned, not run")->group(kPlace);
  command.add_option("--capacity", o.capacity, "bytes a device may give, e.g. 70GiB")
      ->group(kPlace);
  command.add_option("--threads", o.threads, "threads of the cpu backend")->group(kPlace);
  command
      .add_option("--replicas", o.replicas,
                  "processes that each run the plan over one read-only copy of the weights (1)")
      ->group(kPlace);
  command.add_option("--context", o.context, "tokens of a sequence, e.g. 32k")->group(kWork);
  command.add_option("--output-tokens", o.output, "of which generated")->group(kWork);
  command.add_option("--batch", o.batch, "sequences at the same time")->group(kWork);
  command.add_option("--prefill-chunk", o.prefill_chunk, "most tokens of one forward pass")
      ->group(kWork);
  command.add_option("--seed", o.seed, "seed of weights, prompts and sampling")->group(kWork);
  command.add_option("--samples", o.samples, "sequences of the batch from each prompt (1)")
      ->group(kWork);
  command
      .add_option("--beams", o.beams, "beams of a search from each prompt (1); --batch counts all")
      ->group(kWork);
  command
      .add_option(
          "--speculate", o.speculate,
          "guess tokens and ask about all of them in one pass: ngram:4, draft:4 with --draft; "
          "of an engine also mtp, eagle, eagle3, medusa, e.g. mtp:1")
      ->group(kWork);
  command
      .add_option("--draft", o.draft,
                  "model that guesses: a smaller one of the same vocabulary; of an engine's head "
                  "also its published name")
      ->group(kWork);
  command
      .add_option(
          "--speculate-acceptance", o.acceptance,
          "share of guesses that the plan expects the model to agree with (0.6; engines 0.7)")
      ->check(CLI::Range(0.0, 1.0))
      ->group(kWork);
  command
      .add_option("--shared-prefix", o.shared_prefix,
                  "tokens that all prompts begin with, computed once (0)")
      ->group(kWork);
  add_format_flags(command, o);
}

namespace {

/// What the executor guesses with. Engines know more ways: see move_speculation.
void read_speculation(const PlanOptions& o, PlanRequest& request) {
  const AskedGuesses asked = asked_guesses(o);
  if (asked.method == "none") {
    if (!o.acceptance) return;
    throw Error(ErrorCode::kUsage, "guesses that are kept, and nothing that guesses")
        .at("", "--speculate-acceptance")
        .help("add --speculate ngram:4, or --draft MODEL");
  }
  const bool draft = asked.method == "draft";
  if (!draft && asked.method != "ngram") {
    throw Error(ErrorCode::kUnsupported, "this executor does not guess by " + asked.method)
        .at("", "--speculate")
        .help("use ngram or draft, or plan it for an engine: add --engine vllm, sglang or trtllm");
  }
  if (draft == o.draft.empty()) {
    throw Error(ErrorCode::kUsage, draft ? "a draft guesses, and no model is given for it"
                                         : "a draft model, and guesses that look back in the text")
        .at("", draft ? "--draft" : "--speculate")
        .help("ngram:4 looks back in the text; draft:4, or 4, goes with --draft MODEL");
  }
  request.acceptance = o.acceptance;
  request.draft = o.draft;
  request.guess = draft ? Guess::kDraft : Guess::kNgram;
  if (asked.tokens > 0) request.guess_tokens = asked.tokens;
}

}  // namespace

AskedGuesses asked_guesses(const PlanOptions& o) {
  if (o.speculate.empty()) return {o.draft.empty() ? "none" : "draft", 0};
  const std::size_t colon = o.speculate.find(':');
  std::string method = o.speculate.substr(0, colon);
  std::string count = colon == std::string::npos ? "" : o.speculate.substr(colon + 1);
  if (colon == std::string::npos && method.find_first_not_of("0123456789") == std::string::npos) {
    count = std::exchange(method, "draft");
  }
  std::int64_t tokens = 0;
  const char* const end = count.data() + count.size();
  const auto [rest, status] = std::from_chars(count.data(), end, tokens);
  const bool counted = status == std::errc() && rest == end && tokens > 0 && tokens <= kMostAsked;
  if (!counted && (colon != std::string::npos || !count.empty())) {
    throw Error(ErrorCode::kUsage, fmt::format("'{}' is no number of guesses", printable(count)))
        .at("", "--speculate")
        .help(fmt::format("METHOD:K with 1 to {} guesses a step, e.g. ngram:4", kMostAsked));
  }
  parse_speculation(method);
  return {method, tokens};
}

PlanRequest request_of(const PlanOptions& o) {
  require_positive(o.count, "--count");
  require_positive(o.tp, "--tp");
  require_positive(o.pp, "--pp");
  require_positive(o.cp, "--cp");
  require_positive(o.ep, "--ep");
  require_positive(o.threads, "--threads");
  require_positive(o.batch, "--batch");
  require_positive(o.replicas, "--replicas");
  require_positive(o.block_tokens, "--block-size");
  PlanRequest request;
  request.model = o.model;
  request.set = o.set;
  request.count = o.count;
  request.tp = o.tp;
  request.pp = o.pp;
  request.cp = o.cp;
  request.ep = o.ep;
  request.context = read_tokens(o.context, "--context");
  request.output = read_tokens(o.output, "--output-tokens");
  request.prefill_chunk = read_tokens(o.prefill_chunk, "--prefill-chunk");
  request.batch = o.batch;
  request.weights = read_weights(o.weights);
  if (!o.weight_layers.empty()) {
    request.weight_layers = parse_weight_layers(o.weight_layers, "--weight-layers");
  }
  request.kv_format = read_kv_format(o.kv_format);
  read_kv_mix(o, request);
  request.kv_policy = read_choice<KvPolicy>("--kv-policy", o.kv_policy, kKvPolicies);
  request.kv_sinks = read_tokens(o.kv_sinks, "--kv-sinks");
  request.kv_window = read_tokens(o.kv_window, "--kv-window");
  request.kv_budget = read_tokens(o.kv_budget, "--kv-budget");
  request.kv_score = read_choice<KvScore>("--kv-score", o.kv_score, kKvScores);
  request.kv_residual = read_tokens(o.kv_residual, "--kv-residual");
  request.kv_stride = o.kv_stride;
  request.kv_layout = read_choice<KvLayout>("--kv-layout", o.kv_layout, kKvLayouts);
  request.preempt = read_choice<PreemptRequest>("--preempt", o.preempt, kPreemptRequests);
  request.kv_pool = read_tokens(o.kv_pool, "--kv-pool");
  read_speculation(o, request);
  request.samples = o.samples;
  request.beams = o.beams;
  request.shared_prefix = read_tokens(o.shared_prefix, "--shared-prefix");
  request.kv_placement = read_choice<KvPlacement>("--kv-placement", o.kv_placement, kKvPlacements);
  request.kv_offload = o.kv_offload;
  request.weight_offload = o.weight_offload;
  request.activation_offload = o.activation_offload;
  request.block_tokens = o.block_tokens;
  request.attention =
      read_choice<AttentionAlgorithm>("--attention", o.attention, kAttentionAlgorithms);
  request.linear_inputs = read_linear_inputs(o.linear_inputs);
  request.threads = o.threads;
  request.replicas = o.replicas;
  if (!o.capacity.empty()) request.capacity = parse_bytes(o.capacity, "--capacity");
  request.seed = o.seed;
  return request;
}

PlannedModel plan_model(const PlanOptions& asked) {
  PlanOptions options = asked;
  options.model = named_model(asked.model);
  PlanRequest request = request_of(options);
  auto [source, source_resident] =
      open_measured(options.model, options.set, options.assume_like, options.draft);
  ChosenDevice device = choose_device(options.device);
  request.device = device.name;
  Plan plan = make_plan(source, device.card, request);
  plan.decisions.assume_like = options.assume_like;
  if (device.assumption) plan.assumptions.push_back(*device.assumption);
  return {std::move(source), source_resident, std::move(device.card), std::move(plan)};
}

bool is_plan_file(const std::string& path) {
  const auto ends_in = [&path](const std::string& end) {
    return path.size() > end.size() && path.compare(path.size() - end.size(), end.size(), end) == 0;
  };
  if (!ends_in(".yaml") && !ends_in(".yml")) return false;
  return read_text(*open_file(path), kMostPlanBytes).find("schema: vramplan.plan/") !=
         std::string::npos;
}

Plan read_plan_file(const std::string& path) {
  return read_plan(read_text(*open_file(path), kMostPlanBytes), path);
}

PlannedModel reopen(Plan plan) {
  auto [source, source_resident] =
      open_measured(plan.decisions.model, plan.decisions.set, plan.decisions.assume_like,
                    plan.decisions.speculation.draft);
  DeviceCard device = choose_device(plan.decisions.device).card;
  return {std::move(source), source_resident, std::move(device), std::move(plan)};
}

}  // namespace vramplan::cli
