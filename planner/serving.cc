#include "planner/serving.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "modelcards/nearest_names.h"
#include "planner/latency.h"
#include "planner/llamacpp_serving.h"
#include "planner/requests_held.h"
#include "planner/served_release.h"

namespace vramplan {
namespace {

constexpr int kIterations = 30;
constexpr double kStations = 4;  // how sharply the slower of engine and front end takes over

double real(std::int64_t n) { return static_cast<double>(n); }

void check_load(const ServingLoad& load) {
  if (load.input.n < 1 || load.output.n < 1 || load.concurrency < 1 || load.batch_wait_steps < 0) {
    throw Error(ErrorCode::kUsage, "serving needs at least one token in, one out and one request")
        .at("", "--input-tokens, --output-tokens, --concurrency");
  }
}

void check(const EngineTable& table, const ServingLoad& load) {
  if (!table.has("serve_matrices")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no serving times of {} were fitted", name_of(table.kind)))
        .at("", "--concurrency")
        .help("times under load exist for vllm, sglang and trtllm");
  }
  check_load(load);
}

const char* word_of(Arrival arrival) {
  switch (arrival) {
    case Arrival::kSpread:
      return "spread";
    case Arrival::kEqual:
      return "equal";
    case Arrival::kSteady:
      return "steady";
    case Arrival::kStatic:
      return "static";
  }
  return "?";
}

/// Everything a served model needs to answer for a load.
struct Served {
  EngineTable table;
  EngineSettings settings;
  std::vector<EngineModel> stages;  // one rank of each
  std::optional<DraftModel> draft;
  SpeculationMethod method = SpeculationMethod::kNone;
  double tokens_per_step = 1;
  ReleaseFactors release;
  ServedRates rates;
};

Served served(const ModelSource& source, const DeviceCard& device, const Decisions& decisions,
              const EngineRequest& request, const ServingLoad& load) {
  Served out;
  out.table = engine_table(request.id);
  check(out.table, load);
  std::vector<Assumption> unused;
  out.settings = engine_settings(out.table, source, device, decisions, request, unused);
  const std::string& release = load.release.empty() ? request.id.version : load.release;
  const Quantization quantization = out.settings.formats.quantization;
  out.release = release_factors(out.table.kind, release, device.name, quantization);
  out.rates =
      load.rates ? *load.rates : served_rates(out.table.kind, release, device.name, quantization);
  for (int stage = 0; stage < decisions.sharding.pp; ++stage) {
    out.stages.push_back(
        engine_model(source, decisions, out.settings.formats, stage * decisions.sharding.tp));
  }
  const Speculation& s = out.settings.speculation;
  out.method = parse_speculation(s.method);
  if (out.method == SpeculationMethod::kNone) return out;
  out.draft = draft_model(source, request.draft.get(), s, decisions, out.settings.formats);
  out.tokens_per_step = tokens_per_step(*s.acceptance, s.tokens);
  return out;
}

PassModel pass_model(const Served& s, const DeviceCard& device, const Decisions& decisions,
                     const EngineModel& stage) {
  return PassModel(s.table.kind, device, stage, s.settings.formats.quantization,
                   s.settings.formats.kv_element_bytes, decisions.sharding.tp, s.rates);
}

bool is_latent(const EngineModel& model) {
  return std::any_of(model.kv.begin(), model.kv.end(),
                     [](const KvLayers& l) { return l.kind == MixerKind::kMla; });
}

/// Of one attention group.
double full_prompts(const Served& s, const ServingLoad& load) {
  return real(s.settings.max_num_batched_tokens.n) / real(load.input.n);
}

/// The draft's passes of one step, seconds by engine factors as the model's own.
class DraftTimes {
 public:
  DraftTimes(const Served& s, const DeviceCard& device, const Decisions& decisions)
      : t_(s.table), draft_(*s.draft), tokens_(real(s.settings.speculation.tokens)) {
    pass_.emplace(s.table.kind, device, draft_.model, draft_.quantization,
                  s.settings.formats.kv_element_bytes, decisions.sharding.tp, s.rates);
  }
  /// Chained: the first pass takes what the step before kept, each further one a token.
  double step(double sequences, double context, double kept) const {
    if (!draft_.chained) return pass_seconds(pass_->decode(sequences, context));
    return pass_seconds(pass_->decode(sequences, context, kept)) +
           (tokens_ - 1) * pass_seconds(pass_->decode(sequences, context));
  }
  /// Chained drafts keep a cache of the prompt as well.
  double prompt(double input) const {
    return draft_.chained ? pass_seconds(pass_->prefill(1, input)) : 0;
  }

 private:
  double t(const char* name) const { return t_.number(std::string("serve_") + name); }
  double pass_seconds(const PassTerms& k) const {
    return t("layer_s") * std::max(1.0, real(draft_.model.layers)) + t("launch") * k.launch +
           t("head") * k.head + t("expert_launch") * k.expert_launch +
           t("reduce_launch") * k.reduce_launch + t("matrices") * k.matrices +
           t("attention") * k.attention + t("experts") * k.experts + t("reduce") * k.reduce +
           t("vectors") * k.vectors;
  }

  const EngineTable& t_;
  const DraftModel& draft_;
  double tokens_;
  std::optional<PassModel> pass_;
};

/// Seconds of one stage's steps and prompts with the engine's factors put in.
class StageTimes {
 public:
  StageTimes(const Served& s, const EngineModel& model, PassModel pass, const ServingLoad& load)
      : t_(s.table),
        m_(model),
        pass_(std::move(pass)),
        load_(load),
        release_(s.release),
        rates_(s.rates),
        prompts_(full_prompts(s, load)),
        verified_(1 + real(s.settings.speculation.tokens)) {}

  double step(double sequences) const {
    const double b = std::max(1.0, sequences);
    const PassTerms k = pass_.decode(b, context(), verified_);
    return t("step_s") + rates_.step_s + t("layer_s") * real(m_.layers) +
           rates_.expert_layer_s * real(m_.expert_layers) + t("sequence_s") * b + launches(k) +
           t("matrices") * k.matrices + t("attention") * k.attention + t("experts") * k.experts +
           t("reduce") * k.reduce + t("vectors") * k.vectors;
  }
  double context() const { return real(load_.input.n) + real(load_.output.n) / 2; }
  /// One prompt by itself, in as many passes as it needs.
  double prompt() const {
    return prompt_work(pass_.prefill(1, real(load_.input.n))) +
           pass_host() * std::max(1.0, 1 / prompts_);
  }
  /// A prompt's share of a pass that is full of prompts.
  double prompt_share() const {
    const double n = std::max(1.0, std::floor(prompts_)) * real(m_.groups);
    if (n < 2) return prompt();
    if (prompts_ < 1) {
      return (prompt_work(pass_.prefill(n, real(load_.input.n))) + pass_host() / prompts_) / n;
    }
    return (prompt_work(pass_.prefill(n, real(load_.input.n))) + pass_host()) / n;
  }

 private:
  double t(const char* name) const { return t_.number(std::string("serve_") + name); }
  double launches(const PassTerms& k) const {
    return t("launch") * k.launch + t("head") * k.head + t("expert_launch") * k.expert_launch +
           t("reduce_launch") * k.reduce_launch;
  }
  double prompt_work(const PassTerms& k) const {
    return release_.prompt *
           (launches(k) + t("prompt_matrices") * k.matrices + t("prompt_attention") * k.attention +
            t("prompt_experts") * k.experts + t("prompt_reduce") * k.reduce +
            t("prompt_vectors") * k.vectors);
  }
  /// Host work of a pass with prompts, which no graph replays.
  double pass_host() const {
    double layer = t("pass_layer_s");
    if (m_.experts > 0) layer += t("pass_expert_layer_s");
    if (is_latent(m_)) layer += t("pass_latent_layer_s");
    return release_.host * layer * real(m_.layers) + rates_.expert_layer_s * real(m_.expert_layers);
  }

  const EngineTable& t_;
  const EngineModel& m_;
  PassModel pass_;
  const ServingLoad& load_;
  ReleaseFactors release_;
  ServedRates rates_;
  double prompts_;
  double verified_;  // tokens of a sequence in one step
};

/// All stages of a pipeline. The running sequences are split into as many groups as there are
/// stages, one in each stage at a time; hidden vectors are handed on over the link.
class EngineTimes {
 public:
  EngineTimes(const Served& s, const DeviceCard& device, const Decisions& decisions,
              const ServingLoad& load)
      : input_(real(load.input.n)), hidden_(real(s.stages.front().hidden)) {
    for (const EngineModel& stage : s.stages) {
      stages_.emplace_back(s, stage, pass_model(s, device, decisions, stage), load);
    }
    tokens_per_step_ = s.tokens_per_step;
    if (s.draft) draft_.emplace(s, device, decisions);
    if (s.stages.size() < 2) return;
    OpWork send;
    send.op = OpKind::kSend;
    send.calls = 1;
    send.ranks = decisions.sharding.ranks();
    call_s_ = op_seconds(device, send).v;
    send.bytes = kProbeBytes;
    byte_s_ = (op_seconds(device, send).v - call_s_) / kProbeBytes;
  }

  double stages() const { return real(static_cast<std::int64_t>(stages_.size())); }
  double tokens_per_step() const { return tokens_per_step_; }
  /// A step's share of one token: a step yields more than one when drafts are verified.
  double step(double sequences) const {
    const double group = sequences / stages();
    double seconds =
        sum([&](const StageTimes& stage) { return stage.step(group); }) + handing(group);
    if (draft_) {
      seconds += draft_->step(std::max(1.0, group), stages_.front().context(), tokens_per_step_);
    }
    return seconds / tokens_per_step_;
  }
  double prompt() const {
    const double draft = draft_ ? draft_->prompt(input_) : 0;
    return sum([](const StageTimes& stage) { return stage.prompt(); }) + handing(input_) + draft;
  }
  double prompt_share() const {
    return sum([](const StageTimes& stage) { return stage.prompt_share(); });
  }

 private:
  static constexpr double kProbeBytes = 1e9;

  template <class Part>
  double sum(Part part) const {
    double seconds = 0;
    for (const StageTimes& stage : stages_) seconds += part(stage);
    return seconds;
  }
  /// Of the hidden vectors of `tokens` in 16 bits, between all stages.
  double handing(double tokens) const {
    return (stages() - 1) * (call_s_ + 2 * hidden_ * std::max(1.0, tokens) * byte_s_);
  }

  std::vector<StageTimes> stages_;
  std::optional<DraftTimes> draft_;
  double tokens_per_step_ = 1;
  double input_, hidden_, call_s_ = 0, byte_s_ = 0;
};

struct Loop {
  double tpot = 0, response = 0;  // response: a prompt with its queue
};

/// `running` requests that each alternate between a prompt and `output` steps.
Loop solve(const EngineTimes& times, double running, double output, double interference,
           double queue) {
  const double prompt = times.prompt(), share = times.prompt_share();
  // A prompt is in one stage at a time: the others go on.
  const double others = (running - 1) / times.stages();
  double decoding = 1;  // share of the requests that decode
  Loop loop;
  for (int i = 0; i < kIterations; ++i) {
    const double step = times.step(running * decoding);
    if (i == 0) loop.tpot = step + 0.3 * interference * others / output * share;
    const double decode_s = output * loop.tpot;
    // R^2 + R (decode - P - queue P' (B - 1)) - P decode = 0
    const double half = decode_s - prompt - queue * share * others;
    loop.response = (-half + std::sqrt(half * half + 4 * prompt * decode_s)) / 2;
    const double cycle = loop.response + decode_s;
    const double disturbed = interference * share * loop.tpot * others / cycle;
    loop.tpot = 0.5 * loop.tpot + 0.5 * (step + disturbed);
    decoding = 0.5 * decoding + 0.5 * decode_s / cycle;
  }
  return loop;
}

/// TTFT and TPOT of requests that disturb each other; `out.running` of them at once.
void under_load(const Served& s, const EngineTimes& times, const ServingLoad& load, double waiting,
                ServingForecast& out) {
  const auto t = [&](const std::string& name) { return s.table.number("serve_" + name); };
  const std::string arrival = word_of(load.arrival);
  const double output = real(load.output.n);
  const Loop loop = solve(times, out.running, output, t("interference"), t("queue_" + arrival));
  const double steps =
      (t("first_steps") + t("wait") * real(load.batch_wait_steps)) * times.tokens_per_step();
  const double together = t("wave_" + arrival) * (out.running - 1) / times.stages() +
                          t("lock_" + arrival) * std::log(std::max(1.0, out.running));
  out.tpot = {loop.tpot};
  out.ttft = {s.release.host * t("first_s_" + arrival) + loop.response +
              together * times.prompt_share() + steps * loop.tpot +
              waiting * (loop.response + output * loop.tpot)};
  if (load.front_end || load.arrival == Arrival::kEqual) {
    const double streamed = real(load.concurrency) * (t("front_request_s") + t("front_s") * output);
    const double whole = out.ttft.v + output * loop.tpot;
    out.ttft.v +=
        std::pow(std::pow(whole, kStations) + std::pow(streamed, kStations), 1 / kStations) - whole;
  }
}

}  // namespace

Arrival parse_arrival(const std::string& text) {
  for (const Arrival arrival :
       {Arrival::kSpread, Arrival::kEqual, Arrival::kSteady, Arrival::kStatic}) {
    if (text == word_of(arrival)) return arrival;
  }
  throw Error(ErrorCode::kUsage, fmt::format("'{}' is no way requests arrive", printable(text)))
      .at("", "--arrival")
      .help(did_you_mean(text, {"spread", "equal", "steady", "static"}));
}

ServingTerms serving_terms(const ModelSource& source, const DeviceCard& device,
                           const Decisions& decisions, const EngineRequest& request,
                           const ServingLoad& load) {
  const Served s = served(source, device, decisions, request, load);
  const EngineModel& model = s.stages.front();
  const PassModel pass = pass_model(s, device, decisions, model);
  const double input = real(load.input.n), output = real(load.output.n);
  ServingTerms out;
  out.asked = std::min(real(load.concurrency), real(model.groups) * real(s.settings.max_num_seqs));
  out.layers = real(model.layers);
  out.experts = model.experts > 0;
  out.latent = is_latent(model);
  out.full_prompts = full_prompts(s, load) * real(model.groups);
  for (std::size_t i = 0; i < out.steps.size(); ++i) {
    out.steps[i] = pass.decode(std::max(1.0, out.asked * kStepShares[i]), input + output / 2);
  }
  out.prompt = pass.prefill(1, input);
  out.prompt_floor_s = pass.floor_seconds(input);
  out.full_pass = pass.prefill(std::max(1.0, std::floor(out.full_prompts)), input);
  return out;
}

ServingForecast forecast_serving(const ModelSource& source, const DeviceCard& device,
                                 const Decisions& decisions, const EngineRequest& request,
                                 const EngineForecast& forecast, const ServingLoad& load) {
  if (request.id.kind == EngineKind::kLlamacpp) {
    check_load(load);
    return forecast_llamacpp(source, device, decisions, request, load);
  }
  const Served s = served(source, device, decisions, request, load);
  const EngineTimes times(s, device, decisions, load);
  const auto t = [&](const std::string& name) { return s.table.number("serve_" + name); };
  const double input = real(load.input.n), output = real(load.output.n);
  const double groups = real(s.stages.front().groups);
  const double grown = input + t("growth") * output;  // of a request, while it runs
  const double places = std::max(1.0, groups * requests_held(forecast, grown));
  ServingForecast out;
  out.input_tokens = load.input.n;
  out.output_tokens = load.output.n;
  out.concurrency = load.concurrency;
  const double limit = groups * real(s.settings.max_num_seqs);
  out.running = std::min({real(load.concurrency), limit, places});
  out.tokens_per_step = times.tokens_per_step();
  const double waiting = (real(load.concurrency) - out.running) / out.running;
  if (load.arrival == Arrival::kStatic) {
    out.tpot.v = times.step(out.running);
    out.ttft.v = std::max(times.prompt(), out.running * times.prompt_share());
    out.ttft.v += waiting * (out.ttft.v + output * out.tpot.v);
  } else {
    under_load(s, times, load, waiting, out);
  }
  const double request_s = out.ttft.v + out.tpot.v * (output - 1);
  out.requests_per_second = real(load.concurrency) / request_s;
  out.tokens_per_second = out.requests_per_second * output;
  // Of releases without a published run the error is that of set-ups left out of the fit as a
  // whole.
  const std::string where = s.release.measured ? "" : "_elsewhere";
  out.ttft_error = t("ttft_error" + where);
  out.tpot_error = t("tpot_error" + where);
  return out;
}

}  // namespace vramplan
