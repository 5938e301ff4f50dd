// The architectures of GGUF files that a card can say, and the ones it cannot, with the reason.
#include "modelcards/gguf_architecture.h"

#include <array>
#include <map>

namespace vramplan {
namespace {

constexpr std::array kArchitectures = {
    GgufArchitecture{"llama", "llama", NormKind::kRms, Activation::kSilu, true, true},
    GgufArchitecture{"internlm2", "internlm2", NormKind::kRms, Activation::kSilu, true, true},
    GgufArchitecture{"qwen2", "qwen2", NormKind::kRms, Activation::kSilu, true, false},
    GgufArchitecture{"qwen3", "qwen3", NormKind::kRms, Activation::kSilu, true, false},
    GgufArchitecture{"qwen3moe", "qwen3_moe", NormKind::kRms, Activation::kSilu, true, false},
    GgufArchitecture{"gemma", "gemma", NormKind::kRms, Activation::kGeluTanh, true, false},
    GgufArchitecture{"gemma2", "gemma2", NormKind::kRms, Activation::kGeluTanh, true, false},
    GgufArchitecture{"gemma3", "gemma3", NormKind::kRms, Activation::kGeluTanh, true, false},
    GgufArchitecture{"phi2", "phi", NormKind::kLayer, Activation::kGeluTanh, false, false},
    GgufArchitecture{"phi3", "phi3", NormKind::kRms, Activation::kSilu, true, false},
    GgufArchitecture{"gpt2", "gpt2", NormKind::kLayer, Activation::kGeluTanh, false, false,
                     PositionKind::kLearned},
    GgufArchitecture{"falcon", "falcon", NormKind::kLayer, Activation::kGelu, false, false},
    GgufArchitecture{"gptneox", "gptneox", NormKind::kLayer, Activation::kGelu, false, false},
    GgufArchitecture{"starcoder2", "starcoder2", NormKind::kLayer, Activation::kGeluTanh, false,
                     false},
    GgufArchitecture{"stablelm", "stablelm", NormKind::kLayer, Activation::kSilu, true, false},
};

/// Known, and refused: what of each the card cannot say.
const std::map<std::string, const char*> kRefused = {
    {"deepseek2", "multi-head latent attention and sigmoid routing"},
    {"llama4", "chunked attention with layers without rotary embedding"},
    {"qwen2moe", "a gated shared expert"},
    {"gpt-oss", "attention sinks and biased experts"},
    {"olmo2", "q and k norms over all heads together"},
    {"olmo", "norms without weights"},
    {"granite", "residual and logit multipliers"},
    {"command-r", "layer norms without bias and a logit scale"},
    {"smollm3", "layers without rotary embedding"},
    {"deci", "layers without attention"},
    {"mamba", "a state-space mixer"},
    {"mamba2", "a state-space mixer"},
    {"jamba", "a state-space mixer"},
    {"falcon-h1", "a state-space mixer"},
    {"nemotron_h", "a state-space mixer"},
    {"granitehybrid", "a state-space mixer"},
    {"qwen3next", "linear attention"},
    {"rwkv6", "a recurrent mixer"},
    {"rwkv7", "a recurrent mixer"},
    {"bloom", "ALiBi positions"},
    {"mpt", "ALiBi positions"},
    {"bert", "an encoder"},
    {"t5", "an encoder and cross attention"},
    {"mllama", "cross attention"},
};

}  // namespace

void fail_gguf_card(const Gguf& gguf, const std::string& field, const std::string& message) {
  throw Error(ErrorCode::kBadGguf, message)
      .at(gguf.file_name(), field)
      .help("metadata and tensors of the file contradict each other; convert the model again");
}

void refuse_gguf_card(const Gguf& gguf, const std::string& field, const std::string& message) {
  throw Error(ErrorCode::kUnsupported, message).at(gguf.file_name(), field);
}

const GgufArchitecture& find_gguf_architecture(const Gguf& gguf) {
  const std::string name = gguf.text("general.architecture");
  for (const GgufArchitecture& known : kArchitectures) {
    if (name == known.name) return known;
  }
  const auto refused = kRefused.find(name);
  if (refused != kRefused.end()) {
    refuse_gguf_card(
        gguf, "general.architecture",
        "the family " + name + " has " + refused->second + ", which a model card cannot say yet");
  }
  std::string missing;
  for (const char* key : {"block_count", "embedding_length", "context_length",
                          "feed_forward_length", "attention.head_count"}) {
    if (!gguf.has(name + "." + key)) missing += (missing.empty() ? "" : ", ") + name + "." + key;
  }
  throw Error(ErrorCode::kUnknownFamily,
              "the architecture " + name + " is not known" +
                  (missing.empty() ? "; its dims are all there, its recipe of layers is missing"
                                   : "; missing are " + missing))
      .at(gguf.file_name(), "general.architecture")
      .help("write a model card (modelcards/models/README.md) and plan with that");
}

}  // namespace vramplan
