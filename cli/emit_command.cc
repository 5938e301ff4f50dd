// emit: a plan as the command line or manifest of an inference engine, every flag explicit, read
// back before it is printed.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_options.h"
#include "cli/usage.h"
#include "cli/version.h"
#include "modelcards/nearest_names.h"
#include "planner/engines/manifest.h"

namespace vramplan::cli {
namespace {

struct EmitCommand {
  PlanOptions plan;
  EngineOptions engine;
  std::string runs = "vllm", model_id, image, out;
};

struct Target {
  ManifestKind kind;
  std::string engine;
};

Target target_of(const std::string& word, const std::string& runs) {
  constexpr ManifestKind kManifests[] = {ManifestKind::kDeployment, ManifestKind::kLws,
                                         ManifestKind::kKserve, ManifestKind::kRay,
                                         ManifestKind::kCompose};
  std::vector<std::string> names;
  for (const ManifestKind kind : kManifests) {
    if (word == name_of(kind)) return {kind, runs};
    names.emplace_back(name_of(kind));
  }
  const std::string name = word.substr(0, word.find('@'));
  for (const EngineKind engine : kEngineKinds) {
    names.emplace_back(name_of(engine));
    if (name != name_of(engine)) continue;
    const bool config = engine == EngineKind::kTrtllm;
    return {config ? ManifestKind::kTrtllmConfig : ManifestKind::kCommand, word};
  }
  throw Error(ErrorCode::kUnknownName, fmt::format("nothing is emitted for '{}'", printable(word)))
      .at("", "--engine")
      .help(did_you_mean(name, names));
}

PlannedModel planned_model(const EmitCommand& options) {
  if (is_plan_file(options.plan.model)) return reopen(read_plan_file(options.plan.model));
  PlanOptions asked = options.plan;
  follow_engine(options.engine, asked);
  return plan_model(asked);
}

Bytes host_memory(const Plan& plan) {
  Bytes host;
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.rank == 0 && row.tier == TierKind::kHost) host += row.bytes;
  }
  // A pod's page cache, the engine's own code, and what pins memory: as much as the weights.
  return host + plan.predictions.totals.weight_bytes + 16_GiB;
}

/// The engine's settings: the flags, or without any those the plan was made with.
EngineRequest request_for(const EmitCommand& options, const Target& target, const Plan& plan) {
  EngineOptions asked = options.engine;
  asked.engine = target.engine;
  EngineRequest request = *engine_request(asked);
  const std::optional<EngineDecision>& kept = plan.engine;
  if (!kept || has_engine_settings(options.engine)) return request;
  EngineRequest planned = engine_request(*kept);
  if (planned.id.kind != request.id.kind) return request;
  if (!request.id.version.empty()) planned.id = request.id;
  open_draft(planned);
  return planned;
}

int run_emit(EmitCommand options) {
  move_speculation(options.plan, options.engine);
  // A word nobody knows is said before anything is planned.
  if (!options.engine.engine.empty()) target_of(options.engine.engine, options.runs);
  const PlannedModel planned = planned_model(options);
  std::string word = options.engine.engine;
  if (word.empty() && planned.plan.engine) word = planned.plan.engine->engine;
  if (word.empty()) {
    throw Error(ErrorCode::kUsage, "emit needs --engine")
        .at("", "--engine")
        .help("one of vllm sglang trtllm llamacpp k8s lws kserve ray compose");
  }
  const Target target = target_of(word, options.runs);
  const EngineRequest request = request_for(options, target, planned.plan);
  EngineSetup setup = setup_of_plan(planned.plan, request, planned.source, planned.device);
  EngineRequest said = engine_request_of(setup);
  said.draft = request.draft;
  const EngineOutcome outcome =
      forecast_engine(planned.source, planned.device, planned.plan.decisions, said);
  const EngineForecast& first = outcome.devices.front();
  if (!outcome.fits || first.total > planned.plan.decisions.capacity) {
    throw Error(ErrorCode::kDoesNotFit,
                fmt::format("{}@{} would need {} of the {} of {}", first.name, first.version,
                            to_text(first.total), to_text(planned.plan.decisions.capacity),
                            planned.device.name))
        .help("plan fewer sequences, a shorter context or more devices");
  }
  const double asked = static_cast<double>(
      ceil_div(planned.plan.decisions.batch, std::int64_t{request.attention_dp}));
  if (first.max_concurrency > 0 && first.max_concurrency < asked) {
    fmt::print(stderr,
               "note: {} holds {:.2f} of the plan's {} sequences of the longest length at once; "
               "a larger --gpu-memory-utilization leaves it more\n",
               first.name, first.max_concurrency, asked);
  }
  if (!options.model_id.empty()) {
    setup.model = options.model_id;
  } else if (planned.source.gguf == nullptr && planned.source.path.empty()) {
    fmt::print(stderr, "note: '{}' is a card's name; give --model-id the name the engine loads\n",
               setup.model);
  }
  ManifestNotes notes;
  notes.device = planned.plan.decisions.device;
  notes.devices_per_node =
      static_cast<int>(std::max<std::int64_t>(1, planned.device.devices_per_node.value));
  notes.host_memory = host_memory(planned.plan);
  notes.card_hash = planned.plan.decisions.card_hash;
  notes.program = version_line();
  notes.image = options.image;
  const std::string text = write_manifest(target.kind, setup, notes);
  if (!(read_manifest(text, "emitted", "").setup == setup)) {
    throw Error(ErrorCode::kInternal, "what was written does not read back to the same plan");
  }
  if (options.out.empty()) {
    print_result(text);
  } else {
    write_file(options.out, text);
  }
  return kExitFits;
}

}  // namespace

void add_emit_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<EmitCommand>();
  CLI::App* command = app.add_subcommand(
      "emit", "Writes a plan as an engine's command line or as a manifest for a cluster");
  command
      ->add_option("PLAN", options->plan.model,
                   "plan file, or a model to plan with the flags below")
      ->required();
  add_plan_flags(*command, options->plan);
  add_engine_flags(*command, options->engine);
  command->get_option("--engine")
      ->description("vllm sglang trtllm llamacpp, with @version; or k8s lws kserve ray compose");
  command->add_option("--runs", options->runs, "the engine inside a manifest, e.g. vllm@0.19.0");
  command->add_option("--model-id", options->model_id, "the model's name for the engine");
  command->add_option("--image", options->image, "container image of a manifest");
  command->add_option("--out", options->out, "write there instead of stdout");
  set_examples(*command, {"vramplan emit plan.yaml --engine vllm@0.19.0",
                          "vramplan emit plan.yaml --engine k8s --runs vllm@0.19.0 > serve.yaml",
                          "vramplan emit model.gguf --device rtx-4090-24gb --engine llamacpp"});
  command->callback(
      [options, &session] { session.command = [options] { return run_emit(*options); }; });
}

}  // namespace vramplan::cli
