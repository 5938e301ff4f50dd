// The whole executor against other implementations: logits and greedy texts. The tiny checkpoints
// are in the repository; the tests of a real model need files (see tests/reference/README.md) and
// skip without them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "executor/engine.h"
#include "executor/tokenizer.h"
#include "planner/kv_cache.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

using reference::relative_error;

Decisions decisions_for(const ModelSource& source, std::size_t prompt, std::int64_t output) {
  Decisions decisions;
  decisions.model = source.path;
  decisions.card_hash = card_hash(source.card);
  decisions.kv_format = KvFormat::kF32;
  decisions.context = Tokens{static_cast<std::int64_t>(prompt) + output};
  decisions.output = Tokens{output};
  decisions.prefill_chunk = Tokens{static_cast<std::int64_t>(prompt)};
  decisions.kv_blocks = blocks_for(decisions.context, decisions.block);
  decisions.threads = 2;
  decisions.capacity = 4_GiB;
  return decisions;
}

/// Logits of every position: [tokens, vocab].
std::vector<float> our_logits(const ModelSource& source, const Decisions& decisions,
                              const std::vector<std::int32_t>& ids) {
  const auto backend =
      make_cpu_backend(decisions.threads, decisions.capacity, decisions.linear_inputs);
  return prompt_logits(decisions, source, *backend, ids, false);
}

std::vector<float> last_row(const std::vector<float>& logits, std::size_t vocab) {
  return {logits.end() - static_cast<std::ptrdiff_t>(vocab), logits.end()};
}

std::vector<std::int32_t> our_greedy(const ModelSource& source,
                                     const std::vector<std::int32_t>& prompt, std::int64_t count,
                                     DType linear_inputs = DType::kI8) {
  RunRequest request;
  request.prompts = {prompt};
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  Decisions decisions = decisions_for(source, prompt.size(), count);
  decisions.linear_inputs = linear_inputs;
  return run_plan(decisions, source, device, "cpu", request).output.at(0);
}

struct Prompt {
  std::vector<std::int32_t> ids;
  std::vector<float> last;  // [vocab], the reference's
};

std::vector<Prompt> prompts_of(const nlohmann::json& fixture, const std::string& bin) {
  const auto values = reference::read_floats(bin);
  const auto vocab = fixture.at("vocab").get<std::ptrdiff_t>();
  std::vector<Prompt> prompts;
  auto at = values.begin();
  for (const auto& prompt : fixture.at("prompts")) {
    prompts.push_back({prompt.at("ids").get<std::vector<std::int32_t>>(), {at, at + vocab}});
    at += vocab;
  }
  EXPECT_EQ(at, values.end());
  return prompts;
}

// --- tiny checkpoints of six families, f32: transformers in float64 is the reference
// ---------------

class TinyParity : public ::testing::TestWithParam<int> {};

TEST_P(TinyParity, EveryPositionsLogitsAreTheReferences) {
  const auto fixture = reference::read_json("tiny_models.json");
  const auto& entry = fixture.at("families").at(static_cast<std::size_t>(GetParam()));
  const auto ids = entry.at("ids").get<std::vector<std::int32_t>>();
  const auto size =
      static_cast<std::ptrdiff_t>(ids.size()) * entry.at("vocab").get<std::ptrdiff_t>();
  const auto all = reference::read_floats("tiny_models.bin");
  const std::vector<float> expected(all.begin() + GetParam() * size,
                                    all.begin() + (GetParam() + 1) * size);
  const ModelSource source = open_model(reference::path_of(entry.at("file").get<std::string>()));
  Decisions decisions = decisions_for(source, ids.size(), 1);
  EXPECT_LE(relative_error(our_logits(source, decisions, ids), expected), 2e-6);
  decisions.prefill_chunk = Tokens{5};  // chunks end inside and outside of windows and blocks
  decisions.attention = AttentionAlgorithm::kNaive;
  EXPECT_LE(relative_error(our_logits(source, decisions, ids), expected), 2e-6);
}

TEST_P(TinyParity, AWrongCardIsSeen) {
  const auto fixture = reference::read_json("tiny_models.json");
  const auto& entry = fixture.at("families").at(static_cast<std::size_t>(GetParam()));
  const auto ids = entry.at("ids").get<std::vector<std::int32_t>>();
  ModelSource source = open_model(reference::path_of(entry.at("file").get<std::string>()));
  const Decisions decisions = decisions_for(source, ids.size(), 1);
  const auto right = our_logits(source, decisions, ids);
  const auto changed = [&](const char* what, auto&& change) {
    ModelSource wrong = source;
    change(wrong.card);
    EXPECT_GT(relative_error(our_logits(wrong, decisions, ids), right), 1e-5)
        << what;  // 5 tolerances
  };
  changed("norm epsilon", [](ModelCard& card) { card.norm_eps *= 100; });
  changed("rotary base", [](ModelCard& card) {
    for (Layer& layer : card.layers) layer.mixer.rope.theta *= 0.9;
  });
  changed("rotary pairs", [](ModelCard& card) {
    for (Layer& layer : card.layers) layer.mixer.rope.interleaved = !layer.mixer.rope.interleaved;
  });
  changed("softmax scale", [](ModelCard& card) { card.layers[0].mixer.softmax_scale = 0.3; });
  changed("window", [](ModelCard& card) {
    card.layers[0].mixer.kind = MixerKind::kSlidingWindow;
    card.layers[0].mixer.window_tokens = 7;
  });
}

/// Same answers, in the same order, worth the same: prompts that share blocks and copy them.
void expect_beams(const ModelSource& source, const std::vector<std::int32_t>& prompt,
                  const nlohmann::json& entry, DType linear_inputs, double tolerance) {
  SCOPED_TRACE(entry.dump());
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  Decisions decisions =
      decisions_for(source, prompt.size(), entry.at("output").get<std::int64_t>());
  decisions.linear_inputs = linear_inputs;
  decisions.block = TokensPerBlock{8};  // the prompt ends within a block, the answer in another
  decisions.batch = decisions.samples = entry.at("beams").get<std::int64_t>();
  decisions.beam_search = true;
  decisions.kv_blocks = kv_blocks(decisions);
  RunRequest request;
  request.prompts = {prompt};
  request.length_penalty = entry.at("penalty").get<double>();
  request.stop_at_end = !entry.at("end").is_null();
  if (request.stop_at_end) request.end_tokens = {entry.at("end").get<std::int32_t>()};
  const Measurement m = run_plan(decisions, source, device, "cpu", request);
  const auto& answers = entry.at("answers");
  ASSERT_EQ(m.output.size(), answers.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(m.output[i], answers[i].at("ids").get<std::vector<std::int32_t>>()) << i;
    const double score = answers[i].at("score").get<double>();  // kept in f32 there
    EXPECT_NEAR(m.scores[i], score, tolerance * std::abs(score));
  }
}

TEST(TinyBeams, AnswersAreThoseOfTransformers) {
  const auto fixture = reference::read_json("beams_tiny_llama.json");
  const auto prompt = fixture.at("prompt").get<std::vector<std::int32_t>>();
  const ModelSource source = open_model(reference::path_of(fixture.at("model").get<std::string>()));
  for (const auto& entry : fixture.at("cases")) {
    expect_beams(source, prompt, entry, DType::kI8, 2e-6);
  }
}

TEST_P(TinyParity, DecodeContinuesAsPrefillWouldHave) {
  const auto fixture = reference::read_json("tiny_models.json");
  const auto& entry = fixture.at("families").at(static_cast<std::size_t>(GetParam()));
  const auto ids = entry.at("ids").get<std::vector<std::int32_t>>();
  const auto vocab = entry.at("vocab").get<std::size_t>();
  const ModelSource source = open_model(reference::path_of(entry.at("file").get<std::string>()));
  std::vector<std::int32_t> sequence = ids;
  const auto output = our_greedy(source, ids, 20);  // past the windows of 8
  for (const std::int32_t token : output) {
    const auto row =
        last_row(our_logits(source, decisions_for(source, sequence.size(), 1), sequence), vocab);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    EXPECT_EQ(token, best);
    sequence.push_back(token);
  }
}

std::string family_name(const ::testing::TestParamInfo<int>& info) {
  const char* names[] = {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"};
  return names[info.param];
}
INSTANTIATE_TEST_SUITE_P(Families, TinyParity, ::testing::Range(0, 6), family_name);

TEST(TinyTokenizer, ReadsTheTinyVocabularyAsLlamaCppDoes) {
  for (const auto& entry : reference::read_json("tiny_models.json").at("families")) {
    const auto file = open_file(reference::path_of(entry.at("file").get<std::string>()));
    const auto tokenizer = Tokenizer::from_gguf(Gguf::read(*file));
    EXPECT_EQ(tokenizer->encode(entry.at("prompt").get<std::string>(), false),
              entry.at("prompt_ids").get<std::vector<std::int32_t>>());
  }
}

// --- SmolLM2-135M-Instruct
// ------------------------------------------------------------------------

/// VRAMPLAN_TEST_MODEL: the Q4_1 file. VRAMPLAN_TEST_MODEL_F32: its export by export_f32_gguf.py.
struct RealModel {
  std::string path;
  nlohmann::json fixture;
  std::vector<Prompt> prompts;

  RealModel(const char* variable, const std::string& name)
      : path(reference::model_path(variable)),
        fixture(reference::read_json(name + ".json")),
        prompts(prompts_of(fixture, name + ".bin")) {}
};

/// A real model, its weights as they are: the answers of transformers on the dequantised ones.
TEST(QuantisedBeams, AnswersAreThoseOfTransformers) {
  const std::string path = reference::model_path("VRAMPLAN_TEST_MODEL");
  if (path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  const auto fixture = reference::read_json("beams_smollm2.json");
  const ModelSource source = open_model(path);
  for (const auto& entry : fixture.at("cases")) {
    expect_beams(source, entry.at("prompt").get<std::vector<std::int32_t>>(), entry, DType::kF32,
                 1e-4);
  }
}

// llama.cpp rounds each activation vector to 8 bits, which alone puts it 0.02 to 0.05 away from
// exact arithmetic on the same weights, and no program with other sums can follow its roundings one
// by one (rounding_smollm2_q4_1.json: it is 0.067 away from itself at a position when the same
// tokens are fed one by one). So both are measured against exact float32: ours may be half as far
// again as llama.cpp is, and the two then at most 2.5 of its distances apart. A wrong rotary base
// or a missing norm is 20.
TEST(QuantisedParity, LogitsAreAsNearToExactArithmeticAsLlamaCpps) {
  const RealModel model("VRAMPLAN_TEST_MODEL", "logits_smollm2_q4_1");
  if (model.path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  const ModelSource source = open_model(model.path);
  for (const auto& prompt : model.fixture.at("prompts")) {
    const auto ids = prompt.at("ids").get<std::vector<std::int32_t>>();
    const auto rows = our_logits(source, decisions_for(source, ids.size(), 1), ids);
    const auto vocab = rows.size() / ids.size();
    std::vector<float> ours, theirs, exact;  // llama.cpp's 20 best of every position
    for (std::size_t position = 0; position < ids.size(); ++position) {
      for (const auto& pair : prompt.at("top").at(position)) {
        ours.push_back(rows[position * vocab + pair.at(0).get<std::size_t>()]);
        theirs.push_back(pair.at(1).get<float>());
      }
      for (const auto& value : prompt.at("exact_top").at(position))
        exact.push_back(value.get<float>());
    }
    const double rounding = relative_error(theirs, exact);
    const double to_exact = relative_error(ours, exact);
    const double to_llama_cpp = relative_error(ours, theirs);
    std::printf("%zu positions: to f32 %.4f, to llama.cpp %.4f, llama.cpp to f32 %.4f\n",
                ids.size(), to_exact, to_llama_cpp, rounding);
    EXPECT_LE(to_exact, 1.5 * rounding);
    EXPECT_LE(to_llama_cpp, 2.5 * rounding);
  }
}

// Inputs as they are: nothing is rounded, so transformers on the dequantised weights is the
// reference, and its greedy texts are ours, free text and close calls included.
TEST(QuantisedParity, UnroundedInputsGiveTransformersLogitsAndTexts) {
  const std::string path = reference::model_path("VRAMPLAN_TEST_MODEL");
  if (path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  const RealModel exact("VRAMPLAN_TEST_MODEL", "logits_smollm2_f32");
  const ModelSource source = open_model(path);
  for (const Prompt& prompt : exact.prompts) {
    Decisions decisions = decisions_for(source, prompt.ids.size(), 1);
    decisions.linear_inputs = DType::kF32;
    const auto rows = our_logits(source, decisions, prompt.ids);
    const double error = relative_error(last_row(rows, prompt.last.size()), prompt.last);
    std::printf("last position: to transformers %.2e\n", error);
    EXPECT_LE(error, 1e-4);
  }
  const auto& chains = exact.fixture.at("greedy");
  for (const auto& chain : {chains.front(), chains.back()}) {
    EXPECT_EQ(our_greedy(source, chain.at("ids").get<std::vector<std::int32_t>>(), 64, DType::kF32),
              chain.at("output").get<std::vector<std::int32_t>>());
  }
}

TEST(QuantisedParity, AWrongRotaryBaseIsOutsideOfThat) {
  const RealModel model("VRAMPLAN_TEST_MODEL", "logits_smollm2_q4_1");
  if (model.path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  ModelSource source = open_model(model.path);
  for (Layer& layer : source.card.layers) layer.mixer.rope.theta = 10'000;  // it is 100'000
  const RealModel exact("VRAMPLAN_TEST_MODEL", "logits_smollm2_f32");
  for (std::size_t i = 0; i < model.prompts.size(); ++i) {
    const Prompt& prompt = model.prompts[i];
    const auto rows = our_logits(source, decisions_for(source, prompt.ids.size(), 1), prompt.ids);
    const auto& reference = exact.prompts[i].last;
    const double error = relative_error(last_row(rows, reference.size()), reference);
    std::printf("wrong rotary base, last position: to f32 %.4f\n", error);
    EXPECT_GT(error, 1.5 * relative_error(prompt.last, reference));
  }
}

TEST(QuantisedParity, LastPositionsLogitsAreAsNearToo) {
  const RealModel model("VRAMPLAN_TEST_MODEL", "logits_smollm2_q4_1");
  if (model.path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  const RealModel exact("VRAMPLAN_TEST_MODEL", "logits_smollm2_f32");
  const ModelSource source = open_model(model.path);
  for (std::size_t i = 0; i < model.prompts.size(); ++i) {
    const Prompt& prompt = model.prompts[i];
    const auto rows = our_logits(source, decisions_for(source, prompt.ids.size(), 1), prompt.ids);
    const auto ours = last_row(rows, prompt.last.size());
    const double rounding = relative_error(prompt.last, exact.prompts[i].last);
    const double to_exact = relative_error(ours, exact.prompts[i].last);
    const double to_llama_cpp = relative_error(ours, prompt.last);
    std::printf("last position: to f32 %.4f, to llama.cpp %.4f, llama.cpp to f32 %.4f\n", to_exact,
                to_llama_cpp, rounding);
    EXPECT_LE(to_exact, 1.5 * rounding);
    EXPECT_LE(to_llama_cpp, 2.5 * rounding);
  }
}

TEST(QuantisedParity, ClearGreedyChainsAreLlamaCpps) {
  const RealModel model("VRAMPLAN_TEST_MODEL", "logits_smollm2_q4_1");
  if (model.path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
  const ModelSource source = open_model(model.path);
  const auto tokenizer = Tokenizer::from_gguf(*source.gguf);
  for (const auto& chain : model.fixture.at("greedy")) {
    const auto prompt = tokenizer->encode(chain.at("prompt").get<std::string>(), true);
    EXPECT_EQ(prompt, chain.at("ids").get<std::vector<std::int32_t>>());
    const auto output = our_greedy(source, prompt, 64);
    EXPECT_EQ(output, chain.at("output").get<std::vector<std::int32_t>>());
    EXPECT_EQ(tokenizer->decode(output), chain.at("text").get<std::string>());
  }
}

TEST(F32Parity, LogitsAndGreedyTextsAreTransformers) {
  const RealModel model("VRAMPLAN_TEST_MODEL_F32", "logits_smollm2_f32");
  if (model.path.empty()) {
    GTEST_SKIP()
        << "VRAMPLAN_TEST_MODEL_F32 names no GGUF made by tests/reference/export_f32_gguf.py";
  }
  const ModelSource source = open_model(model.path);
  for (const Prompt& prompt : model.prompts) {
    const auto rows = our_logits(source, decisions_for(source, prompt.ids.size(), 1), prompt.ids);
    const double error = relative_error(last_row(rows, prompt.last.size()), prompt.last);
    std::printf("last position: to transformers %.2e\n", error);
    EXPECT_LE(error, 1e-4);
  }
  for (const auto& chain : model.fixture.at("greedy")) {
    EXPECT_EQ(our_greedy(source, chain.at("ids").get<std::vector<std::int32_t>>(), 64),
              chain.at("output").get<std::vector<std::int32_t>>());
  }
}

}  // namespace
}  // namespace vramplan
