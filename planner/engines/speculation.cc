#include "planner/engines/speculation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "modelcards/error.h"
#include "modelcards/nearest_names.h"
#include "planner/sharding.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostDrafted = 1024;

struct MethodName {
  const char* name;
  SpeculationMethod method;
  std::vector<EngineKind> engines;  // that have it
};
/// Sources: vLLM config/speculative.py; SGLang server_args.py; TensorRT-LLM llm_args.py, PyTorch
/// backend; llama.cpp tools/server/README.md (--model-draft).
const std::vector<MethodName>& methods() {
  using E = EngineKind;
  using M = SpeculationMethod;
  static const std::vector<MethodName> kMethods = {
      {"none", M::kNone, {E::kVllm, E::kSglang, E::kTrtllm, E::kLlamacpp}},
      {"ngram", M::kNgram, {E::kVllm, E::kSglang, E::kTrtllm}},
      {"draft", M::kDraft, {E::kVllm, E::kSglang, E::kTrtllm, E::kLlamacpp}},
      {"mtp", M::kMtp, {E::kVllm, E::kSglang, E::kTrtllm}},
      {"eagle", M::kEagle, {E::kVllm, E::kSglang}},
      {"eagle3", M::kEagle3, {E::kVllm, E::kSglang, E::kTrtllm}},
      {"medusa", M::kMedusa, {E::kVllm}}};
  return kMethods;
}

const MethodName& entry_of(const std::string& text) {
  std::vector<std::string> names;
  for (const MethodName& entry : methods()) {
    if (text == entry.name) return entry;
    names.emplace_back(entry.name);
  }
  throw Error(ErrorCode::kUsage, fmt::format("'{}' is no way to draft tokens", printable(text)))
      .at("", "--speculate")
      .help(did_you_mean(text, names, names.size()));
}

bool has_latent(const ModelCard& card) {
  return std::any_of(card.layers.begin(), card.layers.end(),
                     [](const Layer& layer) { return layer.mixer.kind == MixerKind::kMla; });
}

/// A card of the target's widths without layers and norms of its own.
ModelCard bare_card(const ModelCard& target, const char* what) {
  ModelCard card = target;
  card.name = target.name + "-" + what;
  card.layers.clear();
  card.extras.clear();
  card.final_norm = false;
  card.mtp_layers = 0;
  card.mtp_loaded = false;
  card.learned_positions = 0;
  card.head_bias = false;
  card.unpacked.clear();
  return card;
}

void add_matrix(ModelCard& card, const std::string& name, std::int64_t rows, std::int64_t columns,
                Split split = Split::kNone) {
  card.extras.push_back({name, "mtp", rows, columns, split, true});
}
void add_norms(ModelCard& card, std::int64_t count) {
  card.extras.push_back(
      {"draft_norms", "mtp", 1, detail::checked_mul(count, card.hidden), Split::kNone, false});
}

/// The one layer of an EAGLE head: a Llama layer. Source: vLLM models/llama_eagle.py,
/// llama_eagle3.py: whatever the target, no norms of q and k, no biases, no windows, no sinks.
Layer head_layer(const Layer& like) {
  Layer layer = like;
  layer.extras.clear();
  layer.pre_norms = layer.post_norms = layer.parallel = layer.parallel_two_norms = false;
  Mixer& mixer = layer.mixer;
  if (mixer.kind != MixerKind::kMla) mixer.kind = MixerKind::kFullAttention;
  mixer.window_tokens = 0;
  mixer.qkv_bias = mixer.output_bias = mixer.qk_norm = mixer.sinks = mixer.output_gate = false;
  mixer.kv_shared = false;
  mixer.linear = {};
  FeedForward dense;
  const FeedForward& ff = like.feed_forward;
  const bool moe = ff.kind == FeedForwardKind::kMoe;
  dense.intermediate =
      moe ? detail::checked_add(detail::checked_mul(ff.experts_per_token, ff.intermediate),
                                ff.shared_intermediate)
          : ff.intermediate;
  layer.feed_forward = dense;
  return layer;
}

/// The last layer with attention: hybrids and towers have others.
const Layer& attention_layer(const ModelCard& card) {
  for (auto layer = card.layers.rbegin(); layer != card.layers.rend(); ++layer) {
    const MixerKind kind = layer->mixer.kind;
    if (kind != MixerKind::kLinear && kind != MixerKind::kNone) return *layer;
  }
  throw Error(ErrorCode::kUnsupported, card.name + " has no layer with attention")
      .at("", "--speculate");
}

struct Draft {
  ModelSource source;
  EngineFormats formats;
  Bytes more;              // beside the card's tensors
  std::int64_t vocab = 0;  // of its head
};

Draft eagle(const ModelSource& target, const ModelSource* given, const EngineFormats& formats,
            bool third) {
  const ModelCard& shape = given != nullptr ? given->card : target.card;
  if (third && has_latent(shape)) {
    throw Error(ErrorCode::kUnsupported, "no account of an EAGLE-3 head with latent attention")
        .at("", "--speculate")
        .help("give a card with the shape of the head with --draft, or use mtp");
  }
  Draft draft{{}, formats, {}, target.card.vocab};
  ModelCard& card = draft.source.card;
  card = bare_card(target.card, third ? "eagle3" : "eagle");
  card.hidden = shape.hidden;
  card.layers = {head_layer(attention_layer(shape))};
  // Target states of three layers, or embedding and state, side by side.
  const std::int64_t inputs =
      third ? detail::checked_mul(3, target.card.hidden) : detail::checked_mul(2, shape.hidden);
  add_matrix(card, "fc", card.hidden, inputs);
  add_norms(card, third ? 4 : 1);
  if (third) {
    draft.vocab = given != nullptr ? shape.vocab : std::min(kEagle3Vocab, target.card.vocab);
    add_matrix(card, "draft_head", draft.vocab, card.hidden, Split::kRows);
    draft.more = Bytes{8} * draft.vocab;
    draft.formats.attention_inputs = 2;
  }
  draft.formats.quantization = Quantization::kNone;
  return draft;
}

Draft medusa(const ModelSource& target, const EngineFormats& formats, std::int64_t tokens) {
  Draft draft{{}, formats, {}, target.card.vocab};
  ModelCard& card = draft.source.card;
  card = bare_card(target.card, "medusa");
  for (std::int64_t i = 0; i < tokens; ++i) {
    add_matrix(card, fmt::format("medusa.{}.block", i), card.hidden, card.hidden);
    add_matrix(card, fmt::format("medusa.{}.head", i), card.vocab, card.hidden, Split::kRows);
  }
  draft.formats.quantization = Quantization::kNone;
  return draft;
}

Draft mtp(const ModelSource& target, const EngineFormats& formats) {
  Draft draft{{}, formats, {}, target.card.vocab};
  ModelCard& card = draft.source.card;
  card = bare_card(target.card, "mtp");
  for (std::int64_t i = 0; i < target.card.mtp_layers; ++i) {
    card.layers.push_back(target.card.layers.back());
    add_matrix(card, fmt::format("nextn.{}.eh_proj", i), card.hidden,
               detail::checked_mul(2, card.hidden));
    add_norms(card, 3);
  }
  return draft;
}

}  // namespace

SpeculationMethod parse_speculation(const std::string& text) { return entry_of(text).method; }

void check_speculation(EngineKind engine, const ModelCard& card, const Sharding& sharding,
                       const Speculation& s, bool has_draft) {
  const MethodName& entry = entry_of(s.method);
  if (entry.method == SpeculationMethod::kNone) return;
  const auto refuse = [&](ErrorCode code, const std::string& what, const std::string& help) {
    throw Error(code, what).at("", "--speculate").help(help);
  };
  const bool known =
      std::find(entry.engines.begin(), entry.engines.end(), engine) != entry.engines.end();
  if (!known) {
    std::string others;
    for (const MethodName& other : methods()) {
      const bool has =
          std::find(other.engines.begin(), other.engines.end(), engine) != other.engines.end();
      if (has) others += (others.empty() ? "" : " ") + std::string(other.name);
    }
    refuse(ErrorCode::kUnsupported,
           fmt::format("{} does not draft with '{}'", name_of(engine), s.method),
           "it has: " + others);
  }
  if (sharding.pp > 1) {
    refuse(ErrorCode::kUnsupported, "drafting over pipeline stages has no account", "--pp 1");
  }
  if (s.tokens < 1 || s.tokens > kMostDrafted) {
    throw Error(ErrorCode::kUsage, fmt::format("{} drafted tokens are out of range", s.tokens))
        .at("", "--speculate")
        .help(fmt::format("give a number from 1 to {}", kMostDrafted));
  }
  if (s.acceptance && !(*s.acceptance >= 0 && *s.acceptance <= 1)) {
    throw Error(ErrorCode::kUsage, fmt::format("{} is no share", *s.acceptance))
        .at("", "--speculate-acceptance")
        .help("give a share from 0 to 1");
  }
  if (entry.method == SpeculationMethod::kDraft && !has_draft) {
    throw Error(ErrorCode::kUsage, "a draft model needs its name")
        .at("", "--draft")
        .help("give a card, a GGUF file or a checkpoint folder");
  }
  if (entry.method == SpeculationMethod::kMtp && card.mtp_layers == 0) {
    refuse(ErrorCode::kUsage, card.name + " has no layers that predict further tokens",
           "use draft, eagle3 or ngram");
  }
}

double tokens_per_step(double acceptance, std::int64_t tokens) {
  double sum = 0, chance = 1;
  for (std::int64_t i = 0; i <= tokens; ++i, chance *= acceptance) sum += chance;
  return sum;
}

void add_draft(EngineModel& model, const DraftModel& draft) {
  model.weights += draft.model.weights;
  for (const KvLayers& layers : draft.model.kv) model.keep(layers);
}

std::optional<DraftModel> draft_model(const ModelSource& target, const ModelSource* given,
                                      const Speculation& speculation, const Decisions& decisions,
                                      const EngineFormats& formats) {
  const SpeculationMethod method = parse_speculation(speculation.method);
  EngineFormats own = formats;
  own.tower = {};
  Draft draft;
  switch (method) {
    case SpeculationMethod::kNone:
    case SpeculationMethod::kNgram:
      return std::nullopt;
    case SpeculationMethod::kDraft:
      draft = {*given, own, {}, given->card.vocab};
      draft.formats.quantization = Quantization::kNone;
      draft.formats.expert_parallel = 1;
      break;
    case SpeculationMethod::kMtp:
      draft = mtp(target, own);
      break;
    case SpeculationMethod::kEagle:
    case SpeculationMethod::kEagle3:
      draft = eagle(target, given, own, method == SpeculationMethod::kEagle3);
      break;
    case SpeculationMethod::kMedusa:
      draft = medusa(target, own, speculation.tokens);
      break;
  }
  if (method != SpeculationMethod::kDraft) {
    // The rotary tables of a head are the model's.
    draft.formats.tables = draft.formats.rotary_tables = false;
    draft.formats.outside_matrices = true;
  }
  Decisions d = decisions;
  if (method == SpeculationMethod::kDraft) d.weights.reset();
  const int tp = d.sharding.tp;
  const std::vector<int> valid = valid_tensor_parallel(draft.source.card, tp);
  if (std::find(valid.begin(), valid.end(), tp) == valid.end()) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} tensor ranks do not split {}", tp, draft.source.card.name))
        .at("", "--draft")
        .help("give a draft whose heads and width divide by the ranks");
  }
  DraftModel out{engine_model(draft.source, d, draft.formats, 0), draft.formats.quantization,
                 method != SpeculationMethod::kMedusa};
  out.model.weights += draft.more;
  out.model.vocab = draft.vocab;
  // Heads of its own are among its matrices.
  out.model.head = method != SpeculationMethod::kEagle3 && method != SpeculationMethod::kMedusa;
  return out;
}

}  // namespace vramplan
