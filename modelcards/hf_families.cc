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
constexpr NormKind kNoBias = NormKind::kLayerNoBias;
constexpr NormKind kPlain = NormKind::kLayerPlain;
constexpr Activation kRelu = Activation::kRelu;
constexpr Activation kRelu2 = Activation::kRelu2;
constexpr Activation kClipped = Activation::kSiluClipped;
constexpr PositionKind kRope = PositionKind::kRope;
constexpr PositionKind kAlibi = PositionKind::kAlibi;
constexpr PositionKind kNone = PositionKind::kNone;

constexpr std::array kFamilies = {
    //       model_type     family        norm        act    gated  tied   rotary
    HfFamily{"llama", "llama", kRms, kSilu, true, false},
    HfFamily{"mistral", "mistral", kRms, kSilu, true, false},
    HfFamily{"qwen2", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen3", "qwen3", kRms, kSilu, true, false},
    // Decoders of models that see and hear; their configs hold the text's fields or a text_config.
    HfFamily{"qwen2_vl", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen2_vl_text", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen2_5_vl", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen2_5_vl_text", "qwen2", kRms, kSilu, true, false},
    HfFamily{"qwen3_vl_text", "qwen3", kRms, kSilu, true, false},
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
    HfFamily{"qwen3_vl_moe_text", "qwen3_moe", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"ministral", "mistral", kRms, kSilu, true, false},
    HfFamily{"ministral3", "mistral", kRms, kSilu, true, false},
    HfFamily{"internlm3", "llama", kRms, kSilu, true, false},
    HfFamily{"smollm3", "smollm3", kRms, kSilu, true, true},
    HfFamily{"seed_oss", "seed_oss", kRms, kSilu, true, false},
    HfFamily{"exaone4", "exaone4", kRms, kSilu, true, false},
    HfFamily{"ernie4_5", "ernie4_5", kRms, kSilu, true, true},
    HfFamily{"hunyuan_v1_dense", "hunyuan_v1_dense", kRms, kSilu, true, false},
    HfFamily{"helium", "helium", kRms, kSilu, true, false},
    HfFamily{"arcee", "arcee", kRms, kRelu2, false, false},
    HfFamily{"apertus", "apertus", kRms, kSilu, false, false},
    HfFamily{"glm", "glm", kRms, kSilu, true, false, 0.5},
    HfFamily{"glm4", "glm4", kRms, kSilu, true, false, 0.5},
    HfFamily{"olmo", "olmo", kPlain, kSilu, true, false},
    HfFamily{"olmo2", "olmo2", kRms, kSilu, true, false},
    HfFamily{"olmo3", "olmo3", kRms, kSilu, true, false},
    HfFamily{"cohere", "cohere", kNoBias, kSilu, true, true},
    HfFamily{"cohere2", "cohere2", kNoBias, kSilu, true, true},
    HfFamily{"nemotron", "nemotron", kLayerNorm, kRelu2, false, false, 0.5},
    HfFamily{"nemotron-nas", "nemotron-nas", kRms, kSilu, true, false},
    HfFamily{"persimmon", "persimmon", kLayerNorm, kRelu2, false, false, 0.5},
    HfFamily{"minicpm", "minicpm", kRms, kSilu, true, true},
    HfFamily{"minicpm3", "minicpm3", kRms, kSilu, true, true},
    HfFamily{"gemma3n_text", "gemma3n", kRms, kTanh, true, true},
    HfFamily{"mpt", "mpt", kNoBias, kGelu, false, true, 1.0, kAlibi},
    HfFamily{"bloom", "bloom", kLayerNorm, kTanh, false, true, 1.0, kAlibi},
    HfFamily{"opt", "opt", kLayerNorm, kRelu, false, true, 1.0, PositionKind::kLearned},
    HfFamily{"gpt_bigcode", "gpt_bigcode", kLayerNorm, kTanh, false, true, 1.0,
             PositionKind::kLearned},
    HfFamily{"gpt_neo", "gpt_neo", kLayerNorm, kTanh, false, true, 1.0, PositionKind::kLearned},
    HfFamily{"codegen", "codegen", kLayerNorm, kTanh, false, false},
    HfFamily{"qwen2_moe", "qwen2_moe", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"qwen3_next", "qwen3_next", kRms, kSilu, true, false, 0.25, kRope, true},
    HfFamily{"qwen3_5_text", "qwen3_5", kRms, kSilu, true, false, 0.25},
    HfFamily{"qwen3_5", "qwen3_5", kRms, kSilu, true, false, 0.25},
    HfFamily{"qwen3_5_moe_text", "qwen3_5_moe", kRms, kSilu, true, false, 0.25, kRope, true},
    HfFamily{"qwen3_5_moe", "qwen3_5_moe", kRms, kSilu, true, false, 0.25, kRope, true},
    HfFamily{"olmoe", "olmoe", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"granitemoe", "granitemoe", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"granitemoeshared", "granitemoeshared", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"granitemoehybrid", "granitemoehybrid", kRms, kSilu, true, false, 1.0, kNone, true},
    HfFamily{"phimoe", "phimoe", kLayerNorm, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"deepseek_v2", "deepseek_v2", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"deepseek_v3", "deepseek_v3", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"deepseek_v32", "deepseek_v32", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"kimi_k2", "kimi_k2", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"kimi_linear", "kimi_linear", kRms, kSilu, true, false, 1.0, kNone, true},
    HfFamily{"glm4_moe", "glm4_moe", kRms, kSilu, true, false, 0.5, kRope, true},
    HfFamily{"glm_moe_dsa", "deepseek_v32", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"gpt_oss", "gpt_oss", kRms, kClipped, true, false, 1.0, kRope, true},
    HfFamily{"llama4_text", "llama4", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"dots1", "dots1", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"ernie4_5_moe", "ernie4_5_moe", kRms, kSilu, true, true, 1.0, kRope, true},
    HfFamily{"hunyuan_v1_moe", "hunyuan_v1_moe", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"minimax", "minimax", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"minimax_m2", "minimax_m2", kRms, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"dbrx", "dbrx", kNoBias, kSilu, true, false, 1.0, kRope, true},
    HfFamily{"lfm2", "lfm2", kRms, kSilu, true, true},
    HfFamily{"lfm2_moe", "lfm2_moe", kRms, kSilu, true, true, 1.0, kRope, true},
    HfFamily{"falcon_h1", "falcon_h1", kRms, kSilu, true, false},
    HfFamily{"bamba", "bamba", kRms, kSilu, true, false, 0.5},
    HfFamily{"jamba", "jamba", kRms, kSilu, true, false, 1.0, kNone, true},
    HfFamily{"nemotron_h", "nemotron_h", kRms, kRelu2, false, false, 1.0, kNone, true},
    HfFamily{"mamba", "mamba", kRms, kSilu, true, true, 1.0, kNone},
    HfFamily{"falcon_mamba", "falcon_mamba", kRms, kSilu, true, false, 1.0, kNone},
    HfFamily{"mamba2", "mamba2", kRms, kSilu, true, false, 1.0, kNone},
};

const std::map<std::string, const char*> kRefused = {
    {"zamba2", "layers that share one block with adapters of their own"},
    {"zamba", "layers that share one block"},
    {"recurrent_gemma", "gated linear recurrences"},
    {"rwkv", "a recurrent mixer of its own"},
    {"xlstm", "a recurrent mixer of its own"},
    {"jetmoe", "mixtures of attention heads"},
    {"longcat_flash", "experts that do nothing and two blocks a layer"},
    {"deepseek_v4", "compressed sparse attention"},
    {"bert", "an encoder"},
    {"t5", "an encoder and cross attention"},
    {"bart", "an encoder and cross attention"},
    {"whisper", "an encoder and cross attention"},
    {"mllama", "cross attention"},
    {"mllama_text_model", "cross attention"},
    {"phi-msft", "field names from before the family was part of the library; take a newer config"},
};

}  // namespace

std::vector<std::string> hf_model_types() {
  std::vector<std::string> out;
  for (const HfFamily& family : kFamilies) out.emplace_back(family.model_type);
  return out;
}

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
