// Attention of the families of Hugging Face configs.
#include <cmath>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostHeads = 65'536;

std::int64_t kv_heads(const HfFields& f, std::int64_t heads) {
  if (f.is({"gpt2", "gptj", "gptneox", "codegen", "gpt_neo", "bloom", "opt", "persimmon"})) {
    return heads;
  }
  if (f.is({"gpt_bigcode"})) return f.flag("multi_query", true) ? 1 : heads;
  if (f.is({"falcon"})) {
    const std::int64_t grouped =
        f.optional({"num_kv_heads", "n_head_kv", "num_key_value_heads"}, heads, heads);
    if (f.flag("new_decoder_architecture", false)) return grouped;
    return f.flag("multi_query", true) ? 1 : heads;
  }
  if ((f.is({"mpt", "dbrx"})) && f.config.has("attn_config")) {
    return f.config.at("attn_config").integer_or("kv_n_heads", heads, 1, heads);
  }
  std::int64_t fallback = heads;
  if (f.is({"gemma3", "gemma2"})) fallback = 4;
  if (f.is({"starcoder2"})) fallback = 2;
  if (f.is({"mistral", "mixtral"})) fallback = 8;
  return f.optional({"num_key_value_heads"}, fallback, heads);
}

std::int64_t head_dim(const HfFields& f, std::int64_t hidden, std::int64_t heads) {
  std::int64_t fixed = 0;
  if (f.gemma()) fixed = 256;
  if (f.is({"qwen3", "qwen3_moe", "nemotron_h", "llama4", "gpt_oss", "minimax_m2", "seed_oss",
            "smollm3_"})) {
    fixed = 128;
  }
  if (f.is({"qwen3_next", "qwen3_5", "qwen3_5_moe"})) fixed = 256;
  if (f.is({"gpt_oss"})) fixed = 64;
  const char* key = f.spelling({"head_dim", "kv_channels", "attention_head_dim"});
  if (fixed == 0 && !f.config.has(key) && hidden % heads != 0) {
    f.config.at(f.spelling({"num_attention_heads", "n_head"}))
        .fail(ErrorCode::kBadConfig, "does not divide hidden_size");
  }
  return f.optional({"head_dim", "kv_channels", "attention_head_dim"},
                    fixed > 0 ? fixed : hidden / heads, kMostHeads);
}

void read_biases(const HfFields& f, Mixer& mixer) {
  const auto both = [&](bool value) { mixer.qkv_bias = mixer.output_bias = value; };
  if (f.is({"qwen2", "qwen2_moe"})) {
    mixer.qkv_bias = f.flag("qkv_bias", true);
  } else if (f.is({"phi", "gpt2", "gpt_bigcode", "bloom", "persimmon"})) {
    both(true);
  } else if (f.is({"opt"})) {
    both(f.flag("enable_bias", true));
  } else if (f.is({"gpt_neo"})) {
    mixer.output_bias = true;
  } else if (f.is({"falcon"})) {
    both(f.flag("bias", false));
  } else if (f.is({"starcoder2"})) {
    both(f.flag("use_bias", true));
  } else if (f.is({"ernie4_5", "ernie4_5_moe"})) {
    both(f.flag("use_bias", false));
  } else if (f.is({"stablelm"})) {
    mixer.qkv_bias = f.flag("use_qkv_bias", false);
  } else if (f.is({"gptneox"})) {
    both(f.flag("attention_bias", true));
  } else if (f.is({"gpt_oss"})) {
    both(f.flag("attention_bias", true));
  } else if (f.is({"seed_oss"})) {
    mixer.qkv_bias = f.flag("attention_bias", true);
    mixer.output_bias = f.flag("attention_out_bias", false);
  } else if (f.is({"glm", "glm4", "glm4_moe", "helium"})) {
    mixer.qkv_bias = f.flag("attention_bias", f.is({"glm"}));
  } else if (!f.is({"mistral", "mixtral", "phi3", "gptj", "codegen", "mpt", "dbrx", "jamba", "lfm2",
                    "lfm2_moe", "minimax", "nemotron_h", "exaone4"})) {
    both(f.flag("attention_bias", false));
  }
}

void read_qk_norm(const HfFields& f, Mixer& mixer) {
  if (f.is({"qwen3", "qwen3_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe", "gemma3", "gemma3n",
            "exaone4", "dots1", "hunyuan_v1_dense", "hunyuan_v1_moe", "lfm2", "lfm2_moe",
            "apertus"})) {
    mixer.qk_norm = true;
  } else if (f.is({"olmo2", "olmo3", "olmoe", "minimax_m2"})) {
    mixer.qk_norm = true;
    mixer.qk_norm_shape = QkNormShape::kFull;
  } else if (f.is({"glm4_moe"})) {
    mixer.qk_norm = f.flag("use_qk_norm", false);
  } else if (f.is({"cohere"})) {
    mixer.qk_norm = f.flag("use_qk_norm", false);
    mixer.qk_norm_shape = QkNormShape::kFull;
  } else if (f.is({"stablelm"})) {
    mixer.qk_norm = f.flag("qk_layernorm", false);
    mixer.qk_norm_shape = QkNormShape::kFull;  // a norm of its own for each head
  } else if (f.is({"phi", "persimmon"})) {
    mixer.qk_norm = f.flag("qk_layernorm", f.is({"persimmon"}));
    mixer.qk_norm_bias = mixer.qk_norm;
  } else if (f.is({"llama4"})) {
    mixer.qk_norm = f.flag("use_qk_norm", true);
    mixer.qk_norm_shape = QkNormShape::kPlain;
  }
  if (!mixer.qk_norm) mixer.qk_norm_shape = QkNormShape::kHead;
}

void read_scales(const HfFields& f, Mixer& mixer) {
  if (f.is({"gemma2", "gemma3"})) {
    const double divisor = f.config.real_or("query_pre_attn_scalar", 256, 1e-6, 1e9);
    const bool usual = divisor == static_cast<double>(mixer.head_dim);  // said as 0 in a card
    mixer.softmax_scale = usual ? 0.0 : 1.0 / std::sqrt(divisor);
  }
  if (f.is({"gemma3n"})) mixer.softmax_scale = 1;
  const bool softcap = f.is({"gemma2", "gemma3"});
  const bool said = f.config.contains("attn_logit_softcapping");
  const double cap = f.is({"gemma2"}) && !said ? 50.0 : 0.0;
  if (softcap) mixer.score_softcap = f.config.real_or("attn_logit_softcapping", cap, 1e-3, 1e9);
  if (f.name.rfind("granite", 0) == 0) {
    mixer.softmax_scale = f.config.real_or("attention_multiplier", 1, 1e-9, 1e6);
  }
}

/// head_dim of the card counts both parts of a query.
void read_latent(const HfFields& f, Mixer& mixer) {
  mixer.kind = MixerKind::kMla;
  mixer.kv_lora_rank = f.required({"kv_lora_rank"}, kMostHeads);
  mixer.q_lora_rank = f.count({"q_lora_rank"}, 0);
  mixer.qk_rope_dim = f.required({"qk_rope_head_dim"}, kMostHeads);
  mixer.head_dim = f.required({"qk_nope_head_dim"}, kMostHeads) + mixer.qk_rope_dim;
  mixer.value_dim =
      f.config.has("v_head_dim") ? f.required({"v_head_dim"}, kMostHeads) : mixer.head_dim;
  mixer.kv_heads = mixer.heads;
  mixer.index_heads = f.count({"index_n_heads"}, 0);
  mixer.index_head_dim = mixer.index_heads > 0 ? f.required({"index_head_dim"}, kMostHeads) : 0;
  mixer.index_topk = mixer.index_heads > 0 ? f.count({"index_topk"}, 0) : 0;
  mixer.qkv_bias = mixer.output_bias = f.flag("attention_bias", false);
}

}  // namespace

Mixer read_hf_attention(const HfFields& f, std::int64_t hidden) {
  Mixer mixer;
  const auto names = {"num_attention_heads", "n_head", "n_heads", "num_heads"};
  mixer.heads =
      f.is({"gemma3"}) ? f.optional(names, 8, kMostHeads) : f.required(names, kMostHeads);
  if (f.config.has("kv_lora_rank") || f.is({"deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2",
                                            "minicpm3", "kimi_linear"})) {
    read_latent(f, mixer);
    return mixer;
  }
  mixer.kv_heads = kv_heads(f, mixer.heads);
  if (mixer.heads % mixer.kv_heads != 0) {
    f.config.fail(ErrorCode::kBadConfig, std::to_string(mixer.heads) +
                                             " heads do not divide into " +
                                             std::to_string(mixer.kv_heads) + " groups");
  }
  mixer.head_dim = head_dim(f, hidden, mixer.heads);
  mixer.value_dim = mixer.head_dim;
  read_biases(f, mixer);
  read_qk_norm(f, mixer);
  read_scales(f, mixer);
  mixer.sinks = f.is({"gpt_oss"});
  mixer.output_gate = f.is({"qwen3_next", "qwen3_5", "qwen3_5_moe"});
  return mixer;
}

}  // namespace vramplan
