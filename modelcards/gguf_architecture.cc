// The architectures of GGUF files that a card can say, and the ones it cannot, with the reason.
#include "modelcards/gguf_architecture.h"

#include <array>
#include <map>

namespace vramplan {
namespace {

constexpr NormKind kRms = NormKind::kRms;
constexpr Activation kSilu = Activation::kSilu;

constexpr GgufArchitecture planned(const char* name, const char* family, NormKind norm,
                                   Activation activation, bool gated, bool interleaved,
                                   PositionKind position = PositionKind::kRope) {
  return {name, family, norm, activation, gated, interleaved, position, true};
}

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
    planned("deepseek2", "deepseek_v3", kRms, kSilu, true, true),
    planned("qwen2moe", "qwen2_moe", kRms, kSilu, true, false),
    planned("llama4", "llama4", kRms, kSilu, true, true),
    planned("gpt-oss", "gpt_oss", kRms, Activation::kSiluClipped, true, false),
    planned("olmo2", "olmo2", kRms, kSilu, true, false),
    planned("olmoe", "olmoe", kRms, kSilu, true, false),
    planned("olmo", "olmo", NormKind::kLayerPlain, kSilu, true, true),
    planned("granite", "granite", kRms, kSilu, true, true),
    planned("granitemoe", "granitemoe", kRms, kSilu, true, true),
    planned("command-r", "cohere", NormKind::kLayerNoBias, kSilu, true, true),
    planned("cohere2", "cohere2", NormKind::kLayerNoBias, kSilu, true, true),
    planned("smollm3", "smollm3", kRms, kSilu, true, true),
    planned("glm4", "glm4", kRms, kSilu, true, true),
    planned("glm4moe", "glm4_moe", kRms, kSilu, true, false),
    planned("dots1", "dots1", kRms, kSilu, true, false),
    planned("seed_oss", "seed_oss", kRms, kSilu, true, false),
    planned("exaone4", "exaone4", kRms, kSilu, true, false),
    planned("ernie4_5", "ernie4_5", kRms, kSilu, true, true),
    planned("ernie4_5-moe", "ernie4_5_moe", kRms, kSilu, true, true),
    planned("hunyuan-dense", "hunyuan_v1_dense", kRms, kSilu, true, false),
    planned("hunyuan-moe", "hunyuan_v1_moe", kRms, kSilu, true, false),
    planned("minimax-m2", "minimax_m2", kRms, kSilu, true, false),
    planned("minicpm", "minicpm", kRms, kSilu, true, true),
    planned("minicpm3", "minicpm3", kRms, kSilu, true, false),
    planned("arcee", "arcee", kRms, Activation::kRelu2, false, true),
    planned("nemotron", "nemotron", NormKind::kLayer, Activation::kRelu2, false, false),
    planned("dbrx", "dbrx", NormKind::kLayerNoBias, kSilu, true, false),
    planned("phimoe", "phimoe", NormKind::kLayer, kSilu, true, false),
    planned("bloom", "bloom", NormKind::kLayer, Activation::kGeluTanh, false, false,
            PositionKind::kAlibi),
    planned("mpt", "mpt", NormKind::kLayerNoBias, Activation::kGelu, false, false,
            PositionKind::kAlibi),
};

/// Known, and refused: what of each the card cannot say.
const std::map<std::string, const char*> kRefused = {
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
