#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <regex>

#include "modelcards/file.h"
#include "modelcards/model_card.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

using Fields = std::map<std::string, std::string>;  // values as JSON text

std::string json(const Fields& fields) {
  std::string out = "{";
  for (const auto& [key, value] : fields)
    out += (out.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
  return out + "}";
}

/// A Llama-3.1-8B-like config with some fields changed ("" removes one).
Fields config(const std::string& model_type, const Fields& changes = {}) {
  Fields fields = {{"model_type", "\"" + model_type + "\""},
                   {"hidden_size", "4096"},
                   {"num_hidden_layers", "4"},
                   {"num_attention_heads", "32"},
                   {"num_key_value_heads", "8"},
                   {"intermediate_size", "14336"},
                   {"vocab_size", "1000"},
                   {"max_position_embeddings", "8192"},
                   {"torch_dtype", "\"bfloat16\""},
                   {"rms_norm_eps", "1e-05"}};
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      fields.erase(key);
    } else {
      fields[key] = value;
    }
  }
  return fields;
}

ModelCard card_of(const Fields& fields) {
  ModelCard card = parse_hf_config(json(fields), "models/Some-Model/config.json");
  validate(card);
  return card;
}

void expect_error(const Fields& fields, ErrorCode code, const std::string& field) {
  try {
    card_of(fields);
    FAIL() << json(fields);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.field(), field) << error.what();
    EXPECT_EQ(error.file(), "models/Some-Model/config.json");
  }
}

TEST(HfConfig, LlamaFieldsBecomeTheCard) {
  const ModelCard card = card_of(config(
      "llama", {{"rope_theta", "500000.0"},
                {"rope_scaling", R"({"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
                           "original_max_position_embeddings":8192,"rope_type":"llama3"})"}}));
  EXPECT_EQ(card.name, "some-model");
  EXPECT_EQ(card.family, "llama");
  EXPECT_EQ(card.hidden, 4096);
  EXPECT_EQ(card.layer_count(), 4);
  EXPECT_EQ(card.stored_weights, DType::kBF16);
  EXPECT_FALSE(card.tied_head);
  EXPECT_EQ(card.norm_eps, 1e-5);
  const Mixer& mixer = card.layers[3].mixer;
  EXPECT_EQ(mixer.kind, MixerKind::kFullAttention);
  EXPECT_EQ(mixer.head_dim, 128);
  EXPECT_EQ(mixer.rope.theta, 500000);
  EXPECT_EQ(mixer.rope.scaling, "llama3");
  EXPECT_EQ(mixer.rope.factor, 8);
  EXPECT_EQ(mixer.rope.original_context, 8192);
  EXPECT_FALSE(mixer.rope.interleaved);  // Hugging Face stores q and k unpermuted
  EXPECT_EQ(card.layers[3].feed_forward.intermediate, 14336);
}

TEST(HfConfig, BothSpellingsOfDtypeAndRopeAreRead) {
  const ModelCard card = card_of(
      config("llama",
             {{"torch_dtype", ""},
              {"dtype", "\"float16\""},
              {"rope_parameters", R"({"rope_type":"linear","factor":2.0,"rope_theta":12345.0})"}}));
  EXPECT_EQ(card.stored_weights, DType::kF16);
  EXPECT_EQ(card.layers[0].mixer.rope.theta, 12345);
  EXPECT_EQ(card.layers[0].mixer.rope.scaling, "linear");
  EXPECT_EQ(card_of(config("llama", {{"torch_dtype", ""}})).stored_weights, DType::kF32);
}

TEST(HfConfig, TextConfigIsReadFirst) {
  const std::string text =
      json(config("gemma3_text", {{"torch_dtype", ""},
                                  {"num_attention_heads", ""},
                                  {"num_key_value_heads", ""},
                                  {"vocab_size", ""},
                                  {"max_position_embeddings", ""},
                                  {"hidden_size", "2560"},
                                  {"num_hidden_layers", "7"},
                                  {"sliding_window", "1024"},
                                  {"rope_scaling", R"({"factor":8.0,"rope_type":"linear"})"}}));
  const ModelCard card = card_of({{"model_type", "\"gemma3\""},
                                  {"text_config", text},
                                  {"vision_config", "{}"},
                                  {"torch_dtype", "\"bfloat16\""}});
  EXPECT_EQ(card.family, "gemma3");
  EXPECT_EQ(card.vocab, 262208);  // defaults of the class, which its files leave out
  EXPECT_EQ(card.context_limit, 131072);
  EXPECT_EQ(card.layers[0].mixer.heads, 8);
  EXPECT_EQ(card.layers[0].mixer.kv_heads, 4);
  EXPECT_EQ(card.layers[0].mixer.head_dim, 256);
  EXPECT_EQ(card.stored_weights, DType::kBF16);
  EXPECT_NE(card.source.find("text decoder only"), std::string::npos);
  EXPECT_EQ(card.layers[4].mixer.kind, MixerKind::kSlidingWindow);
  EXPECT_EQ(card.layers[5].mixer.kind, MixerKind::kFullAttention);
  EXPECT_EQ(card.layers[4].mixer.rope.theta, 1e4);
  EXPECT_EQ(card.layers[4].mixer.rope.scaling, "none");
  EXPECT_EQ(card.layers[5].mixer.rope.theta, 1e6);
  EXPECT_EQ(card.layers[5].mixer.rope.factor, 8);
  EXPECT_TRUE(card.tied_head && card.norm_one_plus);
}

TEST(HfConfig, WindowsFollowEachFamilysRule) {
  const auto windowed = [](const Fields& fields) {
    std::string out;
    for (const Layer& layer : card_of(fields).layers) {
      out += layer.mixer.kind == MixerKind::kSlidingWindow ? 's' : 'f';
    }
    return out;
  };
  EXPECT_EQ(windowed(config("mistral", {{"sliding_window", "4096"}})), "ssss");
  EXPECT_EQ(windowed(config("mistral", {{"sliding_window", "null"}})), "ffff");
  EXPECT_EQ(windowed(config("mistral", {{"sliding_window", "8192"}})), "ffff");  // hides nothing
  EXPECT_EQ(
      windowed(config("qwen2", {{"sliding_window", "4096"}, {"use_sliding_window", "false"}})),
      "ffff");
  EXPECT_EQ(windowed(config("qwen2", {{"sliding_window", "4096"},
                                      {"use_sliding_window", "true"},
                                      {"max_window_layers", "3"}})),
            "fffs");
  EXPECT_EQ(windowed(config("gemma2", {{"sliding_window", "4096"}})), "sfsf");
  EXPECT_EQ(
      windowed(config("gemma3_text", {{"sliding_window", "512"}, {"sliding_window_pattern", "2"}})),
      "sfsf");
  EXPECT_EQ(windowed(config(
                "gemma3_text",
                {{"sliding_window", "512"},
                 {"layer_types",
                  R"(["full_attention","sliding_attention","full_attention","full_attention"])"}})),
            "fsff");
  EXPECT_EQ(windowed(config("phi3", {{"sliding_window", "2047"}})), "ssss");
  expect_error(config("gemma2", {{"layer_types", R"(["full_attention"])"}}), ErrorCode::kBadConfig,
               "layer_types");
  expect_error(
      config("mistral", {{"layer_types", R"(["sliding_attention","full_attention","full_attention",
      "full_attention"])"}}),
      ErrorCode::kBadConfig, "sliding_window");
  expect_error(
      config("llama", {{"layer_types", R"(["full_attention","full_attention","full_attention",
      "linear_attention"])"}}),
      ErrorCode::kUnsupported, "layer_types[3]");
}

TEST(HfConfig, BiasesNormsAndResidualsFollowEachFamily) {
  const Layer qwen2 = card_of(config("qwen2")).layers[0];
  EXPECT_TRUE(qwen2.mixer.qkv_bias && !qwen2.mixer.output_bias && !qwen2.mixer.qk_norm);
  const Layer qwen3 = card_of(config("qwen3")).layers[0];
  EXPECT_TRUE(!qwen3.mixer.qkv_bias && qwen3.mixer.qk_norm);
  EXPECT_EQ(qwen3.mixer.head_dim, 128);
  const ModelCard phi =
      card_of(config("phi", {{"num_key_value_heads", ""}, {"hidden_act", "\"gelu_new\""}}));
  EXPECT_TRUE(phi.head_bias && phi.layers[0].parallel && phi.layers[0].mixer.output_bias);
  EXPECT_EQ(phi.norm, NormKind::kLayer);
  EXPECT_EQ(phi.layers[0].mixer.rope.rotary_dim, 64);
  EXPECT_EQ(phi.layers[0].feed_forward.activation, Activation::kGeluTanh);
  const ModelCard neox =
      card_of(config("gpt_neox", {{"rotary_pct", "0.25"}, {"rotary_emb_base", "20000"}}));
  EXPECT_TRUE(neox.layers[0].parallel && neox.layers[0].parallel_two_norms);
  EXPECT_EQ(neox.layers[0].mixer.rope.rotary_dim, 32);
  EXPECT_EQ(neox.layers[0].mixer.rope.theta, 20000);
  EXPECT_EQ(neox.layers[0].mixer.kv_heads, 32);
  const ModelCard gemma2 =
      card_of(config("gemma2", {{"query_pre_attn_scalar", "144"}, {"head_dim", "128"}}));
  EXPECT_DOUBLE_EQ(gemma2.layers[0].mixer.softmax_scale, 1.0 / 12.0);
  EXPECT_EQ(gemma2.layers[0].mixer.score_softcap, 50);
  EXPECT_EQ(gemma2.logit_softcap, 30);
  EXPECT_TRUE(gemma2.layers[0].post_norms);
  EXPECT_EQ(
      card_of(config("gemma2", {{"attn_logit_softcapping", "null"}})).layers[0].mixer.score_softcap,
      0);
  const Layer stablelm = card_of(config("stablelm", {{"use_qkv_bias", "true"}})).layers[0];
  EXPECT_TRUE(stablelm.mixer.qkv_bias && !stablelm.mixer.output_bias &&
              stablelm.feed_forward.gated);
  EXPECT_TRUE(card_of(config("starcoder2")).layers[0].feed_forward.bias);
  EXPECT_TRUE(card_of(config("llama", {{"attention_bias", "true"}})).layers[0].mixer.output_bias);
  EXPECT_EQ(
      card_of(config("granite", {{"attention_multiplier", "0.5"}})).layers[0].mixer.softmax_scale,
      0.5);
}

TEST(HfConfig, FalconHasThreeShapesOfAttention) {
  const Fields none = {{"num_key_value_heads", ""}, {"intermediate_size", ""}};
  const Layer small = card_of(config("falcon", none)).layers[0];
  EXPECT_EQ(small.mixer.kv_heads, 1);
  EXPECT_TRUE(small.parallel && !small.parallel_two_norms);
  EXPECT_EQ(small.feed_forward.intermediate, 4 * 4096);
  Fields large = none;
  large.insert({{"new_decoder_architecture", "true"}, {"num_kv_heads", "8"}});
  EXPECT_EQ(card_of(config("falcon", large)).layers[0].mixer.kv_heads, 8);
  EXPECT_TRUE(card_of(config("falcon", large)).layers[0].parallel_two_norms);
  Fields alibi = none;
  alibi["alibi"] = "true";
  EXPECT_EQ(card_of(config("falcon", alibi)).position, PositionKind::kAlibi);
}

TEST(HfConfig, Gpt2UsesItsOwnNames) {
  const ModelCard card = card_of({{"model_type", "\"gpt2\""},
                                  {"n_embd", "768"},
                                  {"n_layer", "12"},
                                  {"n_head", "12"},
                                  {"n_positions", "1024"},
                                  {"vocab_size", "50257"},
                                  {"n_inner", "null"},
                                  {"activation_function", "\"gelu_new\""}});
  EXPECT_EQ(card.learned_positions, 1024);
  EXPECT_TRUE(card.tied_head);
  EXPECT_EQ(card.layers[0].feed_forward.intermediate, 3072);
  EXPECT_EQ(card.layers[0].mixer.rope.rotary_dim, 0);
}

TEST(HfConfig, MixturesHaveExpertsWhereTheConfigSaysSo) {
  const ModelCard mixtral =
      card_of(config("mixtral", {{"num_local_experts", "8"}, {"num_experts_per_tok", "2"}}));
  EXPECT_EQ(mixtral.layers[0].feed_forward.kind, FeedForwardKind::kMoe);
  EXPECT_EQ(mixtral.layers[0].feed_forward.intermediate, 14336);
  const ModelCard qwen = card_of(config("qwen3_moe", {{"num_experts", "128"},
                                                      {"num_experts_per_tok", "8"},
                                                      {"moe_intermediate_size", "768"},
                                                      {"norm_topk_prob", "true"},
                                                      {"decoder_sparse_step", "2"},
                                                      {"mlp_only_layers", "[3]"}}));
  EXPECT_EQ(qwen.layers[0].feed_forward.kind, FeedForwardKind::kDense);
  EXPECT_EQ(qwen.layers[1].feed_forward.intermediate, 768);
  EXPECT_EQ(qwen.layers[3].feed_forward.kind, FeedForwardKind::kDense);
  expect_error(config("mixtral", {{"num_local_experts", "8"}, {"num_experts_per_tok", "9"}}),
               ErrorCode::kBadJson, "num_experts_per_tok");
}

TEST(HfConfig, BadNumbersNameTheirField) {
  for (const char* bad :
       {"0", "-1", "4096.5", "1e19", "99999999999999999999", "\"4096\"", "true", "[]"}) {
    SCOPED_TRACE(bad);
    for (const char* field :
         {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
          "intermediate_size", "vocab_size", "max_position_embeddings"}) {
      expect_error(config("llama", {{field, bad}}), ErrorCode::kBadJson, field);
    }
  }
  expect_error(config("llama", {{"num_hidden_layers", "1000000"}}), ErrorCode::kBadJson,
               "num_hidden_layers");
  expect_error(config("llama", {{"hidden_size", ""}}), ErrorCode::kBadConfig, "hidden_size");
  expect_error(config("llama", {{"hidden_size", "null"}}), ErrorCode::kBadConfig, "hidden_size");
  expect_error(config("llama", {{"num_attention_heads", "30"}}), ErrorCode::kBadConfig,
               "the whole document");
  expect_error(config("llama", {{"model_type", ""}}), ErrorCode::kBadConfig, "model_type");
  expect_error(config("llama", {{"rope_scaling", "[1]"}}), ErrorCode::kBadJson, "rope_scaling");
  expect_error(config("llama", {{"torch_dtype", "\"int8\""}}), ErrorCode::kUnsupported,
               "the whole document");
  EXPECT_THROW(parse_hf_config("[]", "c"), Error);
  EXPECT_THROW(parse_hf_config("{\"a\":\"" + std::string(1 << 20, 'x') + "\"}", "c"), Error);
}

TEST(HfConfig, ScalingsWithoutAFormulaKeepTheirBytesAndAreMarked) {
  for (const char* scaling :
       {R"({"type":"longrope","short_factor":[1],"long_factor":[1]})",
        R"({"type":"dynamic","factor":2})", R"({"type":"yarn","factor":2,"mscale":0.7})"}) {
    const ModelCard card = card_of(config("llama", {{"rope_scaling", scaling}}));
    EXPECT_EQ(card.layers[0].mixer.rope.scaling, "other");
    EXPECT_EQ(special_parts(card), std::vector<std::string>{"a rotary scaling of its own"});
  }
  EXPECT_TRUE(special_parts(card_of(config("llama"))).empty());
}

TEST(HfConfig, PartsOfSingleFamiliesAreRead) {
  const ModelCard granite =
      card_of(config("granite", {{"residual_multiplier", "0.22"}, {"logits_scaling", "8"}}));
  EXPECT_EQ(granite.residual_multiplier, 0.22);
  EXPECT_EQ(granite.logit_multiplier, 0.125);
  const Mixer olmo2 = card_of(config("olmo2")).layers[0].mixer;
  EXPECT_EQ(olmo2.qk_norm_shape, QkNormShape::kFull);
  EXPECT_EQ(card_of(config("olmo")).norm, NormKind::kLayerPlain);
  EXPECT_EQ(card_of(config("cohere")).norm, NormKind::kLayerNoBias);
  const ModelCard smol = card_of(config("smollm3"));
  EXPECT_TRUE(smol.layers[3].mixer.no_rope && !smol.layers[2].mixer.no_rope);
  EXPECT_EQ(card_of(config("llama", {{"hidden_act", "\"relu2\""}}))
                .layers[0]
                .feed_forward.activation,
            Activation::kRelu2);
  const Fields mla = {{"kv_lora_rank", "512"},      {"q_lora_rank", "null"},
                      {"qk_rope_head_dim", "64"},   {"qk_nope_head_dim", "128"},
                      {"v_head_dim", "128"},        {"n_routed_experts", "64"},
                      {"num_experts_per_tok", "6"}, {"moe_intermediate_size", "1408"},
                      {"n_shared_experts", "2"},    {"first_k_dense_replace", "1"}};
  const ModelCard deepseek = card_of(config("deepseek_v2", mla));
  EXPECT_EQ(deepseek.layers[0].mixer.head_dim, 192);
  EXPECT_EQ(deepseek.layers[0].mixer.rope.rotary_dim, 64);
  EXPECT_EQ(deepseek.layers[0].feed_forward.kind, FeedForwardKind::kDense);
  EXPECT_EQ(deepseek.layers[1].feed_forward.shared_intermediate, 2816);
  expect_error(config("deepseek_v3"), ErrorCode::kBadConfig, "kv_lora_rank");
}

TEST(HfConfig, WhatACardCannotSayIsRefusedByName) {
  expect_error(config("llama", {{"quantization_config", R"({"quant_method":"aqlm"})"}}),
               ErrorCode::kUnsupported, "quantization_config");
  for (const char* family : {"zamba2", "t5", "mllama", "rwkv"}) {
    expect_error(config(family), ErrorCode::kUnsupported, "the whole document");
  }
  expect_error(config("nobodys"), ErrorCode::kUnknownFamily, "the whole document");
  try {
    card_of(config("nobodys", {{"intermediate_size", ""}}));
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("missing are intermediate_size"), std::string::npos)
        << error.what();
  }
}

/// A YAML node as JSON text; plain scalars that look like JSON numbers are numbers.
std::string as_json(const YamlNode& node) {
  std::string out;
  if (node.is_map()) {
    for (const std::string& key : node.keys()) {
      out += (out.empty() ? "\"" : ",\"") + key + "\":" + as_json(node.at(key));
    }
    return "{" + out + "}";
  }
  if (node.is_list()) {
    for (std::size_t i = 0; i < node.size(); ++i) out += (i == 0 ? "" : ",") + as_json(node.at(i));
    return "[" + out + "]";
  }
  try {
    out = node.text();
  } catch (const Error&) {
    return "null";
  }
  static const std::regex kNumber("-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
  if (std::regex_match(out, kNumber) || out == "true" || out == "false" || out == "null")
    return out;
  return "\"" + out + "\"";
}

TEST(HfConfig, PublishedDenseConfigsGiveValidCards) {
  const std::string path = VRAMPLAN_SOURCE_DIR "/../shared/truth/models.yaml";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const YamlNode models = YamlNode::parse(read_text(*open_file(path), 1_MiB), path).at("models");
  // Families a card can say, and the refusals of single files among them.
  const std::map<std::string, std::string> refusals = {
      {"microsoft/phi-2", "phi-msft"}};
  const std::string families =
      " llama mistral qwen2 qwen3 gemma2 gemma3_text phi3 gpt2 stablelm falcon "
      "gpt_neox gptj mixtral qwen3_moe phi-msft deepseek_v2 deepseek_v3 kimi_k2 gpt_oss llama4 "
      "qwen3_next qwen3_5_moe nemotron_h nemotron-nas olmo2 cohere jamba mpt smollm3 glm4_moe "
      "granitemoehybrid lfm2 minicpm3 ";
  int valid = 0, refused = 0;
  for (const std::string& name : models.keys()) {
    const YamlNode model = models.at(name);
    const YamlNode fields = model.at("config");
    const bool read = model.text_or("confidence", "").rfind("read", 0) == 0;
    const std::string family = fields.text_or("model_type", "");
    if (!read || families.find(" " + family + " ") == std::string::npos) continue;
    SCOPED_TRACE(name);
    try {
      const ModelCard card = parse_hf_config(as_json(fields), name + "/config.json");
      validate(card);
      ++valid;
      EXPECT_EQ(refusals.count(name), 0U);
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
      ASSERT_EQ(refusals.count(name), 1U) << error.what();
      EXPECT_NE(error.message().find(refusals.at(name)), std::string::npos) << error.what();
    }
  }
  EXPECT_GE(valid, 35);
  EXPECT_LE(refused, 1);
}

}  // namespace
}  // namespace vramplan
