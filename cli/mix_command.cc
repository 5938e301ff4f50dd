// mix: which layers may keep their KV cache in fewer bits, measured on a text.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/execution.h"
#include "cli/mix_report_json.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "executor/quality.h"
#include "modelcards/file.h"
#include "planner/kv_mix.h"

namespace vramplan::cli {
namespace {

constexpr Bytes kMostText = 16_MiB;
constexpr std::int64_t kLeastTokens = 192;  // beyond a residual window of 128
/// Groups x formats that are measured when nobody says how many layers go together: with the
/// passes beside them a few minutes for a small model.
constexpr std::int64_t kUsualMeasures = 40;

struct MixCommand {
  PlanOptions plan;
  std::string text, floor, formats = "int8,q4_0,kivi4,kivi2";
  std::optional<std::int64_t> tokens, layers_together;
  int most_runs = 8;
};

/// "int8,kivi2/0" as encodings.
std::vector<KvEncoding> read_formats(const std::string& text) {
  std::vector<KvEncoding> formats;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = "0:" + text.substr(begin, end - begin);
    formats.push_back(parse_kv_layers(word, "--formats").front().encoding);
    begin = end + 1;
  }
  return formats;
}

bool is_plain(KvFormat format) { return format <= KvFormat::kBF16; }

/// The plan's choices that are measured: without guesses, ranks or anything beyond the device.
PlanRequest base_request(const MixCommand& options, bool windows) {
  PlanRequest request = request_of(options.plan);
  if (!request.kv_layers.empty() || request.kv_full_heads.any()) {
    throw Error(ErrorCode::kUsage, "a mix is what this command finds")
        .at("", request.kv_layers.empty() ? "--kv-full-heads" : "--kv-layers")
        .help("leave it out; --formats says what to choose from");
  }
  if (!request.kv_format) request.kv_format = KvFormat::kF16;
  if (!is_plain(*request.kv_format)) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} is no base: it loses something", name_of(*request.kv_format)))
        .at("", "--kv-cache-dtype")
        .help("f16, bf16 or f32");
  }
  // One chunk for all, so that no measure differs in more than its formats.
  if (windows && !request.prefill_chunk) request.prefill_chunk = Tokens{96};
  request.linear_inputs = DType::kF32;  // no rounding but the cache's
  return request;
}

MixQuestion question_of(const MixCommand& options, KvFormat base, std::int64_t layers) {
  MixQuestion question;
  question.floor = parse_quality_floor(options.floor, "--quality-floor");
  question.base = base;
  for (const KvEncoding& format : read_formats(options.formats)) {
    const bool known = std::find(question.formats.begin(), question.formats.end(), format) !=
                       question.formats.end();
    if (!known && !(format == question.base)) question.formats.push_back(format);
  }
  question.most_runs = options.most_runs;
  const auto formats =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(question.formats.size()));
  question.layers_together = options.layers_together.value_or(
      ceil_div(layers * formats, std::max(kUsualMeasures, formats)));
  if (question.layers_together < 1 || question.layers_together > layers) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} layers together of {}", question.layers_together, layers))
        .at("", "--layers-together")
        .help(fmt::format("give a number from 1 to {}", layers));
  }
  return question;
}

std::vector<std::int32_t> ids_of(const MixCommand& options, const ModelSource& source) {
  const std::int64_t wanted = options.tokens.value_or(512);
  if (wanted < kLeastTokens) {
    throw Error(ErrorCode::kUsage, fmt::format("{} tokens of text", wanted))
        .at("", "--tokens")
        .help(fmt::format("give at least {}: a residual window holds 128", kLeastTokens));
  }
  const auto tokenizer = Tokenizer::from_gguf(*source.gguf);
  std::vector<std::int32_t> ids =
      tokenizer->encode(read_text(*open_file(options.text), kMostText), false);
  if (static_cast<std::int64_t>(ids.size()) < wanted) {
    throw Error(ErrorCode::kUsage,
                fmt::format("the text has {} tokens, {} are wanted", ids.size(), wanted))
        .at(options.text, "--tokens")
        .help("give a longer text, or fewer --tokens");
  }
  ids.resize(static_cast<std::size_t>(wanted));
  return ids;
}

CacheQuality quality_of(const TextQuality& q) {
  return {q.perplexity, q.mean_divergence, q.worst_divergence, q.same_best};
}

int run_mix(const MixCommand& options, const Session& session) {
  PlanOptions plain = options.plan;
  plain.kv_residual.clear();  // of packed layers only
  const PlannedModel planned = plan_model(plain);
  const ModelSource& source = planned.source;
  if (source.gguf == nullptr) {
    throw Error(ErrorCode::kUsage, fmt::format("{} is a card without weights", source.card.name))
        .at("", "MODEL")
        .help("give a GGUF file: losses are measured");
  }
  if (planned.device.kind != DeviceKind::kCpu) {
    throw Error(ErrorCode::kUnsupported, "losses are measured on a CPU")
        .at("", "--device")
        .help("leave --device out; the flags that are found hold for other devices, too");
  }
  MixQuestion question =
      question_of(options, request_of(options.plan).kv_format.value_or(KvFormat::kF16),
                  source.card.layer_count());
  const bool windows =
      std::any_of(question.formats.begin(), question.formats.end(),
                  [](const KvEncoding& format) { return needs_residual(format.format); });
  PlanRequest request = base_request(options, windows);
  request.device = planned.plan.decisions.device;
  const auto decide = [&](const std::vector<KvLayerRange>& layers) {
    PlanRequest one = request;
    one.kv_layers = layers;
    const bool packed = std::any_of(layers.begin(), layers.end(), [](const KvLayerRange& piece) {
      return needs_residual(piece.encoding.format);
    });
    if (!packed) one.kv_residual.reset();
    return make_plan(source, planned.device, one).decisions;
  };
  const Decisions base = decide({});
  const std::vector<std::int32_t> ids = ids_of(options, source);
  Progress progress;
  std::fprintf(stderr, "at most %d passes over %zu tokens\n",
               most_passes(question, source.card.layer_count()), ids.size());
  const auto backend = make_cpu_backend(base.threads, base.capacity, base.linear_inputs);
  PromptRuns runs(base, source, *backend, false);
  const QualityBase judge(runs.logits(base, ids), ids);
  const auto measure = [&](const Decisions& decisions) {
    return quality_of(judge.compare(runs.logits(decisions, ids)));
  };
  const MixAnswer answer =
      study_mix({source, quality_of(judge.itself()), decide, measure,
                 [&](double done) { progress.show("passes over the text", done); }},
                question);
  progress.clear();
  const MixReport report{answer, source.card.name, static_cast<std::int64_t>(ids.size()),
                         decide(answer.found().layers), base};
  print_result(session.json ? mix_json(report) : mix_text(report, text_options()));
  return kExitFits;
}

}  // namespace

void add_mix_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<MixCommand>();
  CLI::App* command = app.add_subcommand(
      "mix", "Finds the smallest KV cache of several formats that keeps a floor of quality");
  command->add_option("MODEL", options->plan.model, "GGUF file")->required();
  command->add_option("TEXT", options->text, "file whose tokens are predicted")->required();
  command
      ->add_option("--quality-floor", options->floor,
                   "most that may be lost: kl:NATS or perplexity:+PERCENT%")
      ->required();
  command->add_option("--formats", options->formats,
                      "to choose from besides the base: int8,q4_0,kivi4,kivi2/0 ...");
  command->add_option("--tokens", options->tokens, "of the text (512)");
  command->add_option("--layers-together", options->layers_together,
                      "neighbours that get one format; default: as many as take about 40 measures");
  command->add_option("--most-runs", options->most_runs, "mixes that are run at most (8)")
      ->check(CLI::Range(1, 100));
  add_plan_flags(*command, options->plan);
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.mix/1)");
  set_examples(*command,
               {"vramplan mix model.gguf text.txt --quality-floor kl:0.02",
                "vramplan mix model.gguf text.txt --quality-floor perplexity:+1% --context 8k",
                "vramplan mix model.gguf text.txt --quality-floor kl:0.01 --formats "
                "int8,kivi2,kivi2/0,kivi2/1 --json"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_mix(*options, session); };
  });
}

}  // namespace vramplan::cli
