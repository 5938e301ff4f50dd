// The families that a card can say, and the ones it cannot, with the reason.
#include <array>
#include <map>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr NormKind kRms = NormKind::kRms;
constexpr NormKind kLayerNorm = NormKind::kLayer;
constexpr Activation kSilu = Activation::kSilu;
constexpr Activation kGelu = Activation::kGelu;
constexpr Activation kTanh = Activation::kGeluTanh;
constexpr PositionKind kRope = PositionKind::kRope;

constexpr std::array kFamilies = {
    //       model_type     family        norm        act    gated  tied   rotary
    HfFamily{"llama", "llama", kRms, kSilu, true, false},
    HfFamily{"mistral", "mistral", kRms, kSilu, true, false},
    HfFamily{"qwen2", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen3", "qwen3", kRms, kSilu, true, false},
    HfFamily{"gemma", "gemma", kRms, kTanh, true, true},
    HfFamily{"gemma2", "gemma2", kRms, kTanh, true, true},
    HfFamily{"gemma3_text", "gemma3", kRms, kTanh, true, true},
    HfFamily{"phi", "phi", kLayerNorm, kTanh, false, false, 0.5},
    HfFamily{"phi3", "phi3", kRms, kSilu, true, false},
    HfFamily{"gpt2", "gpt2", kLayerNorm, kTanh, false, true, 1.0, PositionKind::kLearned},
    HfFamily{"gptj", "gptj", kLayerNorm, kTanh, false, false},
    HfFamily{"falcon", "falcon", kLayerNorm, kGelu, false, true},
    HfFamily{"gpt_neox", "gptneox", kLayerNorm, kGelu, false, false, 0.25},
    HfFamily{"starcoder2", "starcoder2", kLayerNorm, kTanh, false, true},
    HfFamily{"stablelm", "stablelm", kLayerNorm, kSilu, true, false, 0.25},
    HfFamily{"granite", "granite", kRms, kSilu, true, false},
    HfFamily{"mixtral", "mixtral", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"qwen3_moe", "qwen3_moe", kRms, kSilu, true, false, 1.0, kRope, true},
};

const char* const kMla = "multi-head latent attention";
const char* const kState = "a state-space or linear mixer";
const char* const kAlibi = "ALiBi positions";

const std::map<std::string, const char*> kRefused = {
    {"deepseek_v2", kMla},
    {"deepseek_v3", kMla},
    {"kimi_k2", kMla},
    {"minicpm3", kMla},
    {"deepseek_v32", kMla},
    {"glm_moe_dsa", kMla},
    {"mamba", kState},
    {"mamba2", kState},
    {"falcon_mamba", kState},
    {"falcon_h1", kState},
    {"jamba", kState},
    {"zamba2", kState},
    {"nemotron_h", kState},
    {"granitemoehybrid", kState},
    {"qwen3_next", kState},
    {"qwen3_5", kState},
    {"qwen3_5_text", kState},
    {"qwen3_5_moe", kState},
    {"qwen3_5_moe_text", kState},
    {"kimi_linear", kState},
    {"lfm2", kState},
    {"bamba", kState},
    {"rwkv", kState},
    {"recurrent_gemma", kState},
    {"bloom", kAlibi},
    {"mpt", kAlibi},
    {"llama4", "layers without rotary embedding and sigmoid routing"},
    {"llama4_text", "layers without rotary embedding and sigmoid routing"},
    {"smollm3", "layers without rotary embedding"},
    {"qwen2_moe", "a gated shared expert and routing weights that do not sum to 1"},
    {"gpt_oss", "attention sinks and experts with biases"},
    {"glm4_moe", "sigmoid routing with a correction bias and MTP layers"},
    {"olmo", "norms without weights"},
    {"olmo2", "q and k norms over all heads together"},
    {"olmoe", "q and k norms over all heads together"},
    {"olmo3", "q and k norms over all heads together"},
    {"cohere", "layer norms without bias and a logit scale"},
    {"cohere2", "layer norms without bias and a logit scale"},
    {"nemotron", "squared ReLU, or layers without attention (Nemotron-NAS)"},
    {"nemotron-nas", "layers without attention"},
    {"gemma3n", "per-layer embeddings and shared KV layers"},
    {"gemma3n_text", "per-layer embeddings and shared KV layers"},
    {"dbrx", "clipped queries"},
    {"minicpm", "residual and logit multipliers"},
    {"bert", "an encoder"},
    {"t5", "an encoder and cross attention"},
    {"bart", "an encoder and cross attention"},
    {"whisper", "an encoder and cross attention"},
    {"mllama", "cross attention"},
    {"phi-msft", "field names from before the family was part of the library; take a newer config"},
};

}  // namespace

const HfFamily* find_hf_family(const std::string& model_type) {
  for (const HfFamily& family : kFamilies) {
    if (model_type == family.model_type) return &family;
  }
  return nullptr;
}

std::string refused_hf_family(const std::string& model_type) {
  const auto found = kRefused.find(model_type);
  return found == kRefused.end() ? std::string() : found->second;
}

}  // namespace vramplan
