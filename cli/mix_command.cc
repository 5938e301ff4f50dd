// mix: which layers may keep their KV cache, or their weights, in fewer bits, measured on a text.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/execution.h"
#include "cli/mix_report_json.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "executor/engine.h"
#include "executor/quality.h"
#include "executor/support.h"
#include "modelcards/file.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"
#include "planner/weights.h"

namespace vramplan::cli {
namespace {

constexpr Bytes kMostText = 16_MiB;
constexpr std::int64_t kLeastTokens = 192;  // beyond a residual window of 128
/// Groups x formats that are measured when nobody says how many layers go together: with the
/// passes beside them a few minutes for a small model.
constexpr std::int64_t kUsualMeasures = 40;

struct MixCommand {
  PlanOptions plan;
  std::string text, floor, of = "cache", formats;
  std::optional<std::int64_t> tokens, layers_together;
  int most_runs = 8;
  bool weights() const { return of == "weights"; }
};

[[noreturn]] void refuse(const std::string& flag, const std::string& message,
                         const std::string& fix) {
  throw Error(ErrorCode::kUsage, message).at("", flag).help(fix);
}

std::string format_word(const MixCommand& options, const std::string& text) {
  if (!options.weights()) return name_of(parse_kv_encoding(text, "--formats"));
  return weight_word(weight_layers_of({{0, 1, text}}, "--formats").front().format);
}

/// "int8,kivi2/0" as the words of formats, each once, without the base.
std::vector<std::string> read_formats(const MixCommand& options, const std::string& base) {
  const char* const usual = options.weights() ? "q8_0,q5_0,q4_1,q4_0" : "int8,q4_0,kivi4,kivi2";
  std::vector<std::string> formats;
  for (const std::string& text :
       split_text(options.formats.empty() ? usual : options.formats, ',')) {
    std::string word = format_word(options, text);
    const bool known = std::find(formats.begin(), formats.end(), word) != formats.end();
    if (!known && word != base) formats.push_back(std::move(word));
  }
  return formats;
}

bool is_plain(KvFormat format) { return format <= KvFormat::kBF16; }

void settle_cache_request(PlanRequest& request, bool windows) {
  if (!request.kv_layers.empty() || request.kv_full_heads.any()) {
    refuse(request.kv_layers.empty() ? "--kv-full-heads" : "--kv-layers",
           "a mix is what this command finds", "leave it out; --formats says what to choose from");
  }
  if (!request.kv_format) request.kv_format = KvFormat::kF16;
  if (!is_plain(*request.kv_format)) {
    refuse("--kv-cache-dtype",
           fmt::format("{} is no base: it loses something", name_of(*request.kv_format)),
           "f16, bf16 or f32");
  }
  // One chunk and block for all, so that no measure differs in more than its formats.
  if (windows && !request.prefill_chunk) request.prefill_chunk = Tokens{96};
  if (!request.block_tokens && request.kv_layout != KvLayout::kContiguous) {
    request.block_tokens = windows ? kResidualBlock.n : 16;
  }
}

void settle_weight_request(const PlanRequest& request) {
  if (!request.weights && request.weight_layers.empty()) return;
  refuse(request.weights ? "--weights" : "--weight-layers",
         "the file's own weights are what mixes are compared with",
         "leave it out; --formats says what to choose from");
}

/// The plan's choices that are measured: without guesses, ranks or anything beyond the device.
PlanRequest base_request(const MixCommand& options, bool windows) {
  PlanRequest request = request_of(options.plan);
  if (options.weights())
    settle_weight_request(request);
  else
    settle_cache_request(request, windows);
  request.linear_inputs = DType::kF32;  // no rounding but that of the formats
  return request;
}

MixQuestion question_of(const MixCommand& options, std::int64_t layers) {
  MixQuestion question;
  question.floor = parse_quality_floor(options.floor, "--quality-floor");
  const KvFormat cache = request_of(options.plan).kv_format.value_or(KvFormat::kF16);
  question.base = options.weights() ? weight_word({}) : name_of(cache);
  question.formats = read_formats(options, question.base);
  question.most_runs = options.most_runs;
  const auto formats =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(question.formats.size()));
  question.layers_together = options.layers_together.value_or(
      ceil_div(layers * formats, std::max(kUsualMeasures, formats)));
  if (question.layers_together < 1 || question.layers_together > layers) {
    refuse("--layers-together",
           fmt::format("{} layers together of {}", question.layers_together, layers),
           fmt::format("give a number from 1 to {}", layers));
  }
  return question;
}

std::vector<std::int32_t> ids_of(const MixCommand& options, const ModelSource& source) {
  const std::int64_t wanted = options.tokens.value_or(512);
  if (wanted < kLeastTokens) {
    refuse("--tokens", fmt::format("{} tokens of text", wanted),
           fmt::format("give at least {}: a residual window holds 128", kLeastTokens));
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

MixQuality quality_of(const TextQuality& q) {
  return {q.perplexity, q.mean_divergence, q.worst_divergence, q.same_best};
}

void require_file(const PlannedModel& planned) {
  if (planned.source.gguf == nullptr) {
    refuse("MODEL", fmt::format("{} is a card without weights", planned.source.card.name),
           "give a GGUF file: losses are measured");
  }
  if (planned.device.kind == DeviceKind::kCpu) return;
  throw Error(ErrorCode::kUnsupported, "losses are measured on a CPU")
      .at("", "--device")
      .help("leave --device out; the flags that are found hold for other devices, too");
}

/// A plan for each mix: see MixParts::decide.
class Deciding {
 public:
  Deciding(const MixCommand& options, const PlannedModel& planned, bool windows)
      : weights_(options.weights()), planned_(planned), request_(base_request(options, windows)) {
    request_.device = planned.plan.decisions.device;
  }
  Decisions operator()(const std::vector<LayerWord>& layers) const {
    PlanRequest one = request_;
    if (weights_) {
      one.weight_layers = weight_layers_of(layers, "--formats");
    } else {
      one.kv_layers = kv_layers_of(layers, "--formats");
      const auto packed = [](const KvLayerRange& piece) {
        return needs_residual(piece.encoding.format);
      };
      if (std::none_of(one.kv_layers.begin(), one.kv_layers.end(), packed)) one.kv_residual.reset();
    }
    return make_plan(planned_.source, planned_.device, one).decisions;
  }

 private:
  bool weights_;
  const PlannedModel& planned_;
  PlanRequest request_;
};

/// Formats of weights that cannot run are refused before anything is measured; those in which the
/// layers are no smaller than in the file are none to choose.
void drop_useless(const ModelSource& source, const Deciding& decide, MixQuestion& question) {
  const std::int64_t layers = source.card.layer_count();
  const Bytes base = mix_size(source, decide({}), true).bytes;
  std::erase_if(question.formats, [&](const std::string& format) {
    const Decisions decisions = decide({{0, layers, format}});
    refuse_unsupported(source, decisions, true, false);
    if (mix_size(source, decisions, true).bytes < base) return false;
    std::fprintf(stderr, "%s saves no byte of this file: left out\n", format.c_str());
    return true;
  });
}

/// Logits under each choice: a cache of its own over the same weights, or weights of its own.
class Measuring {
 public:
  Measuring(const Decisions& base, const ModelSource& source, bool weights,
            std::vector<std::int32_t> ids)
      : source_(source),
        ids_(std::move(ids)),
        backend_(make_cpu_backend(base.threads, base.capacity, base.linear_inputs)) {
    if (!weights) runs_.emplace(base, source, *backend_, false);
  }
  std::vector<float> logits(const Decisions& decisions) {
    return runs_ ? runs_->logits(decisions, ids_)
                 : prompt_logits(decisions, source_, *backend_, ids_, false);
  }

 private:
  const ModelSource& source_;
  std::vector<std::int32_t> ids_;
  std::unique_ptr<Backend> backend_;
  std::optional<PromptRuns> runs_;
};

int run_mix(const MixCommand& options, const Session& session) {
  PlanOptions plain = options.plan;
  plain.kv_residual.clear();  // of packed layers only
  const PlannedModel planned = plan_model(plain);
  require_file(planned);
  const ModelSource& source = planned.source;
  MixQuestion question = question_of(options, source.card.layer_count());
  const bool windows =
      !options.weights() &&
      std::any_of(question.formats.begin(), question.formats.end(), [](const std::string& format) {
        return needs_residual(parse_kv_encoding(format, "--formats").format);
      });
  const Deciding decide(options, planned, windows);
  if (options.weights()) drop_useless(source, decide, question);
  const Decisions base = decide({});
  const std::vector<std::int32_t> ids = ids_of(options, source);
  Progress progress;
  std::fprintf(stderr, "at most %d passes over %zu tokens\n",
               most_passes(question, source.card.layer_count()), ids.size());
  Measuring runs(base, source, options.weights(), ids);
  const QualityBase judge(runs.logits(base), ids);
  const MixParts parts{
      source.card.layer_count(),
      quality_of(judge.itself()),
      decide,
      [&](const Decisions& decisions) { return mix_size(source, decisions, options.weights()); },
      [&](const Decisions& decisions) { return quality_of(judge.compare(runs.logits(decisions))); },
      [&](double done) { progress.show("passes over the text", done); }};
  const MixAnswer answer = study_mix(parts, question);
  progress.clear();
  const MixReport report{answer,
                         source.card.name,
                         static_cast<std::int64_t>(ids.size()),
                         options.weights(),
                         count_parameters(source.card).total,
                         decide(answer.found().layers),
                         base};
  print_result(session.json ? mix_json(report) : mix_text(report, text_options()));
  return kExitFits;
}

}  // namespace

void add_mix_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<MixCommand>();
  CLI::App* command = app.add_subcommand(
      "mix",
      "Finds the smallest KV cache, or weights, of several formats that keep a floor of quality");
  command->add_option("MODEL", options->plan.model, "GGUF file")->required();
  command->add_option("TEXT", options->text, "file whose tokens are predicted")->required();
  command
      ->add_option("--quality-floor", options->floor,
                   "most that may be lost: kl:NATS or perplexity:+PERCENT%")
      ->required();
  command
      ->add_option("--of", options->of,
                   "cache (default): KV formats of layers; weights: formats of their matrices, "
                   "against the file's own")
      ->check(CLI::IsMember({"cache", "weights"}));
  command->add_option(
      "--formats", options->formats,
      "to choose from besides the base: int8,q4_0,kivi4,kivi2/0 ... or, of weights, "
      "q8_0,q5_0,q4_1,q4_0 ...");
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
                "vramplan mix model.gguf text.txt --of weights --quality-floor kl:0.02 --formats "
                "q8_0,q4_0",
                "vramplan mix model.gguf text.txt --quality-floor kl:0.01 --formats "
                "int8,kivi2,kivi2/0,kivi2/1 --json"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_mix(*options, session); };
  });
}

}  // namespace vramplan::cli
