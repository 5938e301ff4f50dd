#include "planner/engines/speculation_flags.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace vramplan {
namespace {

Speculation drafts(const char* method, std::int64_t tokens, const char* model = "") {
  Speculation s;
  s.method = method;
  s.tokens = tokens;
  s.model = model;
  return s;
}

Speculation read(const std::vector<EngineFlag>& flags) {
  SpeculationReader reader;
  for (const EngineFlag& flag : flags) EXPECT_TRUE(reader.read(flag)) << flag.name;
  return reader.finish();
}

RC_GTEST_PROP(SpeculationFlags, ADraftComesBackFromItsFlags, ()) {
  const std::string model = *rc::gen::element<std::string>("org/name", "a \"quoted\" one", "b\\c");
  const EngineKind kind = *rc::gen::elementOf(
      std::vector<EngineKind>(std::begin(kEngineKinds), std::end(kEngineKinds)));
  const std::string method = kind == EngineKind::kLlamacpp ? std::string("draft")
                                                           : *rc::gen::element<std::string>(
                                                                 "ngram", "draft", "mtp", "eagle3");
  const bool named = method == "draft" || method == "eagle3";
  const Speculation s =
      drafts(method.c_str(), *rc::gen::inRange<std::int64_t>(1, 64), named ? model.c_str() : "");
  const EngineTable table = engine_table({kind, ""});
  const std::vector<EngineFlag> flags = speculation_flags(s, table);
  check_flags(flags, table);
  RC_ASSERT(read(flags) == s);
}

TEST(SpeculationFlags, TheWordsAreEachEngines) {
  const auto text = [](const Speculation& s, const char* engine) {
    std::string out;
    for (const EngineFlag& f : speculation_flags(s, engine_table(parse_engine(engine)))) {
      out += f.name + " " + f.value + " ";
    }
    return out;
  };
  EXPECT_EQ(text(drafts("eagle3", 3, "x/y"), "vllm@0.19.0"),
            "--speculative-config {\"method\": \"eagle3\", \"model\": \"x/y\", "
            "\"num_speculative_tokens\": 3} ");
  EXPECT_EQ(text(drafts("mtp", 1), "sglang"),
            "--speculative-algorithm NEXTN --speculative-num-steps 1 --speculative-eagle-topk 1 "
            "--speculative-num-draft-tokens 2 ");
  EXPECT_EQ(text(drafts("mtp", 3), "trtllm"),
            "speculative_config.decoding_type MTP speculative_config.num_nextn_predict_layers 3 ");
  EXPECT_EQ(text(drafts("draft", 8, "d.gguf"), "llamacpp"), "-md d.gguf -ngld 999 --draft-max 8 ");
}

// vllm#26547: NotImplementedError in 0.11 and until 0.13.
TEST(SpeculationFlags, ADraftModelNeedsAVersionThatHasThem) {
  const Speculation s = drafts("draft", 5, "x/y");
  EXPECT_THROW(speculation_flags(s, engine_table(parse_engine("vllm@0.13.0"))), Error);
  EXPECT_NO_THROW(speculation_flags(s, engine_table(parse_engine("vllm@0.19.0"))));
}

TEST(SpeculationFlags, WhatPeopleWriteIsRead) {
  EXPECT_EQ(read({{"--speculative-config",
                   R"({"model": "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B", "num_speculative_tokens": 2,
                       "draft_tensor_parallel_size": 1})"}}),
            drafts("eagle3", 2, "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"));
  EXPECT_EQ(read({{"--speculative-config",
                   R"({"method": "deepseek_mtp", "num_speculative_tokens": 1})"}}),
            drafts("mtp", 1));
  EXPECT_EQ(read({{"--speculative-algorithm", "NGRAM"}, {"--speculative-num-draft-tokens", "16"}}),
            drafts("ngram", 15));
  EXPECT_EQ(read({}), Speculation{});
  EXPECT_EQ(read({{"--speculative-algorithm", "EAGLE"}, {"--speculative-num-steps", "3"}}),
            drafts("mtp", 3));
  EXPECT_EQ(read({{"--speculative-algorithm", "EAGLE"},
                  {"--speculative-draft-model-path", "x/y"},
                  {"--speculative-num-steps", "3"}}),
            drafts("eagle", 3, "x/y"));
  EXPECT_THROW(speculation_flags(drafts("eagle3", 3), engine_table(parse_engine("vllm"))), Error);
}

TEST(SpeculationFlags, WhatHasNoAccountIsRefusedByName) {
  const auto code = [](const EngineFlag& flag) {
    SpeculationReader reader;
    try {
      reader.read(flag);
      reader.finish();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code({"--speculative-eagle-topk", "8"}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({"--speculative-config", R"({"method": "suffix", "num_speculative_tokens": 4})"}),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code({"--speculative-config",
                  R"({"method": "mtp", "num_speculative_tokens": 1, "quantization": "fp8"})"}),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code({"--speculative-config", "{method: mtp}"}), ErrorCode::kBadJson);
  EXPECT_EQ(code({"--speculative-config", R"({"method": "mtp", "num_speculative_tokens": -1})"}),
            ErrorCode::kBadJson);
  EXPECT_EQ(code({"--speculative-algorithm", "NEXTN"}), ErrorCode::kUsage);
}

}  // namespace
}  // namespace vramplan
