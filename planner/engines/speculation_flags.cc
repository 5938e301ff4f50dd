#include "planner/engines/speculation_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "modelcards/json.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostDrafted = 1024;

struct MethodWord {
  EngineKind engine;
  const char* word;
  const char* method;
};
/// The first word of a method is the one that is written. Sources: vLLM config/speculative.py, docs
/// of 0.12; SGLang docs/advanced_features/speculative_decoding; TensorRT-LLM
/// docs/features/speculative-decoding and published serving scripts (decoding_type).
constexpr MethodWord kWords[] = {{EngineKind::kVllm, "ngram", "ngram"},
                                 {EngineKind::kVllm, "draft_model", "draft"},
                                 {EngineKind::kVllm, "mtp", "mtp"},
                                 {EngineKind::kVllm, "deepseek_mtp", "mtp"},
                                 {EngineKind::kVllm, "qwen3_next_mtp", "mtp"},
                                 {EngineKind::kVllm, "glm4_moe_mtp", "mtp"},
                                 {EngineKind::kVllm, "ernie_mtp", "mtp"},
                                 {EngineKind::kVllm, "mimo_mtp", "mtp"},
                                 {EngineKind::kVllm, "longcat_flash_mtp", "mtp"},
                                 {EngineKind::kVllm, "pangu_ultra_moe_mtp", "mtp"},
                                 {EngineKind::kVllm, "eagle", "eagle"},
                                 {EngineKind::kVllm, "eagle3", "eagle3"},
                                 {EngineKind::kVllm, "medusa", "medusa"},
                                 {EngineKind::kSglang, "NGRAM", "ngram"},
                                 {EngineKind::kSglang, "STANDALONE", "draft"},
                                 {EngineKind::kSglang, "NEXTN", "mtp"},
                                 {EngineKind::kSglang, "EAGLE", "eagle"},
                                 {EngineKind::kSglang, "EAGLE3", "eagle3"},
                                 {EngineKind::kTrtllm, "NGram", "ngram"},
                                 {EngineKind::kTrtllm, "Draft_Target", "draft"},
                                 {EngineKind::kTrtllm, "DraftTarget", "draft"},
                                 {EngineKind::kTrtllm, "MTP", "mtp"},
                                 {EngineKind::kTrtllm, "Eagle", "eagle3"},
                                 {EngineKind::kTrtllm, "Eagle3", "eagle3"}};

std::string word_of(const Speculation& s, const EngineTable& table) {
  for (const MethodWord& entry : kWords) {
    if (entry.engine == table.kind && s.method == entry.method) return entry.word;
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{} has no word for drafting with '{}'", name_of(table.kind), s.method))
      .at("", "--speculate");
}

std::string json_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      out += fmt::format("\\u{:04x}", code);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string vllm_object(const Speculation& s, const EngineTable& table) {
  if (s.method == "draft" && table.number("draft_model") == 0) {
    throw Error(ErrorCode::kUnsupported, fmt::format("vllm@{} has no draft models: {}",
                                                     table.version, table.source("draft_model")))
        .at("", "--speculate")
        .help("name a later version, or draft with eagle3, mtp or ngram");
  }
  std::string out = "{\"method\": " + json_quoted(word_of(s, table));
  if (!s.model.empty()) out += ", \"model\": " + json_quoted(s.model);
  return out + fmt::format(", \"num_speculative_tokens\": {}}}", s.tokens);
}

/// A model without a method: vLLM reads its kind from the name, else from its configuration.
std::string method_of_name(const std::string& model) {
  std::string low = model;
  std::transform(low.begin(), low.end(), low.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"ngram", "eagle3", "eagle", "medusa"}) {
    if (low.find(word) != std::string::npos) return word;
  }
  return low.find("mtp") != std::string::npos ? "mtp" : "draft_model";
}

std::int64_t count_of(const EngineFlag& flag) {
  const std::int64_t n = std::strtoll(flag.value.c_str(), nullptr, 10);
  if (n >= 1 && n <= kMostDrafted) return n;
  throw Error(ErrorCode::kUsage, fmt::format("{} of {} is out of range", flag.name, flag.value))
      .at("command line", flag.name)
      .help(fmt::format("give a number from 1 to {}", kMostDrafted));
}

}  // namespace

std::vector<EngineFlag> speculation_flags(const Speculation& s, const EngineTable& table) {
  std::vector<EngineFlag> out;
  if (s.method == "none") return out;
  const bool own = s.method == "ngram" || s.method == "mtp";
  if (!own && s.model.empty()) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} must be told which {} to load", name_of(table.kind), s.method))
        .at("", "--draft")
        .help("give the name of the draft or head as the engine loads it");
  }
  const std::string tokens = std::to_string(s.tokens);
  switch (table.kind) {
    case EngineKind::kVllm:
      out.push_back({"--speculative-config", vllm_object(s, table)});
      break;
    case EngineKind::kSglang:
      out.push_back({"--speculative-algorithm", word_of(s, table)});
      if (!s.model.empty()) out.push_back({"--speculative-draft-model-path", s.model});
      if (s.method != "ngram") {
        out.push_back({"--speculative-num-steps", tokens});
        out.push_back({"--speculative-eagle-topk", "1"});
      }
      out.push_back({"--speculative-num-draft-tokens", std::to_string(s.tokens + 1)});
      break;
    case EngineKind::kTrtllm:
      out.push_back({"speculative_config.decoding_type", word_of(s, table)});
      out.push_back({s.method == "mtp" ? "speculative_config.num_nextn_predict_layers"
                                       : "speculative_config.max_draft_len",
                     tokens});
      if (!s.model.empty()) out.push_back({"speculative_config.speculative_model_dir", s.model});
      break;
    case EngineKind::kLlamacpp:
      out.push_back({"-md", s.model});
      out.push_back({"-ngld", "999"});
      out.push_back({"--draft-max", tokens});
      break;
  }
  return out;
}

void SpeculationReader::set_method(const std::string& word, const EngineFlag& flag) {
  for (const MethodWord& entry : kWords) {
    if (word == entry.word) {
      out_.method = entry.method;
      return;
    }
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("no account of drafting with '{}' exists", printable(word)))
      .at("command line", flag.name)
      .help("leave it out to plan without drafts");
}

void SpeculationReader::read_object(const EngineFlag& flag) {
  const JsonNode object = JsonNode::parse(flag.value, flag.name);
  object_ = true;
  // What changes neither memory nor the account of times.
  constexpr const char* kPassedOver[] = {"prompt_lookup_max",
                                         "prompt_lookup_min",
                                         "draft_tensor_parallel_size",
                                         "max_model_len",
                                         "revision",
                                         "code_revision",
                                         "disable_padded_drafter_batch",
                                         "disable_by_batch_size",
                                         "acceptance_method"};
  for (const std::string& key : object.keys()) {
    const bool over =
        std::find(std::begin(kPassedOver), std::end(kPassedOver), key) != std::end(kPassedOver);
    if (over || key == "method" || key == "model" || key == "num_speculative_tokens") continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' of a speculative config changes memory in a way no twin models",
                            printable(key)))
        .at("command line", flag.name)
        .help("known: method, model, num_speculative_tokens");
  }
  out_.model = object.text_or("model", "");
  std::string method = object.text_or("method", method_of_name(out_.model));
  // "ngram" may stand as the model, too.
  if (out_.model == "ngram" || out_.model == "[ngram]") out_.model.clear();
  set_method(method, flag);
  out_.tokens = object.at("num_speculative_tokens").integer(1, kMostDrafted);
}

bool SpeculationReader::read(const EngineFlag& flag) {
  const std::string& n = flag.name;
  if (n == "--speculative-config") {
    read_object(flag);
  } else if (n == "--speculative-algorithm" || n == "speculative_config.decoding_type") {
    set_method(flag.value, flag);
  } else if (n == "--speculative-draft-model-path" ||
             n == "speculative_config.speculative_model_dir") {
    out_.model = flag.value;
  } else if (n == "--speculative-num-steps") {
    steps_ = count_of(flag);
  } else if (n == "--speculative-eagle-topk") {
    if (count_of(flag) > 1) {
      throw Error(ErrorCode::kUnsupported, "a tree of drafts has no account; a chain has")
          .at("command line", n)
          .help("--speculative-eagle-topk 1");
    }
  } else if (n == "--speculative-num-draft-tokens") {
    verified_ = count_of(flag);
  } else if (n == "speculative_config.max_draft_len" ||
             n == "speculative_config.num_nextn_predict_layers" || n == "--draft-max") {
    out_.tokens = count_of(flag);
  } else if (n == "-md") {
    out_.method = "draft";
    out_.model = flag.value;
  } else if (n == "-ngld") {
    const bool all = flag.value == "all" || flag.value == "auto" || count_of(flag) >= 99;
    if (!all) {
      throw Error(ErrorCode::kUnsupported, "a draft model that is partly on the host")
          .at("command line", n)
          .help("-ngld 999");
    }
  } else {
    return false;
  }
  return true;
}

Speculation SpeculationReader::finish() const {
  Speculation s = out_;
  if (s.method == "none") return {};
  // SGLang's EAGLE without a draft is the model's own layers: NEXTN is its other name.
  if (s.method == "eagle" && s.model.empty() && !object_) s.method = "mtp";
  // SGLang verifies the drafts and the token before them.
  if (steps_ > 0) s.tokens = steps_;
  if (s.tokens == 0 && verified_ > 1) s.tokens = verified_ - 1;
  if (s.tokens > 0) return s;
  throw Error(ErrorCode::kUsage, "the command does not say how many tokens are drafted")
      .at("command line", "speculation")
      .help(
          "vllm: num_speculative_tokens; sglang: --speculative-num-steps; llama.cpp: --draft-max");
}

}  // namespace vramplan
