#include "planner/weights.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "cards.h"
#include "modelcards/library.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

using namespace test;

Bytes sum(const std::vector<WeightTensor>& tensors) {
  Bytes total;
  for (const WeightTensor& tensor : tensors) total += tensor.bytes();
  return total;
}

TEST(Weights, ParametersOfPublishedModels) {
  EXPECT_EQ(count_parameters(llama_3_70b()).total.n, 70'553'706'496);
  EXPECT_EQ(count_parameters(llama_2_7b()).total.n, 6'738'415'616);
  EXPECT_EQ(count_parameters(gpt2()).total.n, 124'439'808);
  EXPECT_EQ(count_parameters(mixtral_8x7b()).total.n, 46'702'792'704);
}

TEST(Weights, OnlyRoutedExpertsAreActive) {
  const ParameterCount count = count_parameters(mixtral_8x7b());
  const std::int64_t expert = 3LL * 4096 * 14336 * 32;  // gate, up, down in 32 layers
  EXPECT_EQ(count.total.n - count.active.n, 6 * expert);
  EXPECT_EQ(count_parameters(llama_2_7b()).active, count_parameters(llama_2_7b()).total);
}

TEST(Weights, SixteenBitWeightsAreTwoBytesAParameter) {
  const ModelCard card = llama_3_70b();
  EXPECT_EQ(weight_bytes(rank_model(card, decisions_of(), {}, 0)).n, 141'107'412'992);
}

TEST(Weights, EightBitFormatsTakeAboutSeventyGigabytes) {
  const ModelCard card = llama_3_70b();
  for (const DType dtype : {DType::kF8E4M3, DType::kI8}) {
    Decisions d = decisions_of();
    d.weights = dtype;
    // 161 norms of 8192 stay in f32, all else is one byte.
    EXPECT_EQ(weight_bytes(rank_model(card, d, {}, 0)).n, 70'553'706'496 + 161 * 8192 * 3);
  }
}

TEST(Weights, GroupsHoldWhatTheLedgerSays) {
  const RankModel model = rank_model(gpt2(), decisions_of(), {}, 0);
  std::map<std::string, std::int64_t> bytes;
  for (const GroupBytes& group : weight_groups(model)) bytes[group.group] = group.bytes.n;
  EXPECT_EQ(bytes["embedding"], 50257LL * 768 * 2);
  EXPECT_EQ(bytes["positions"], 1024LL * 768 * 2);
  EXPECT_EQ(bytes["attention"], 12LL * (4 * 768 * 768 + 4 * 768) * 2);
  EXPECT_EQ(bytes["feed_forward"], 12LL * (2 * 768 * 3072 + 3072 + 768) * 2);
  EXPECT_EQ(bytes["norms"], (12LL * 2 + 1) * 2 * 768 * 2);  // LayerNorm: weight and bias
  EXPECT_EQ(bytes.count("head"), 0U) << "a tied head has no row";
}

TEST(Weights, PostNormsQkNormsAndParallelNormsAreCounted) {
  ModelCard card = tiny();
  const std::int64_t plain = count_parameters(card).total.n;
  card.layers[0].post_norms = true;
  EXPECT_EQ(count_parameters(card).total.n - plain, 2 * 64);
  card.layers[0].mixer.qk_norm = true;
  EXPECT_EQ(count_parameters(card).total.n - plain, 2 * 64 + 2 * 16);
  card = tiny();
  card.layers[0].parallel = true;
  EXPECT_EQ(count_parameters(card).total.n - plain, -64);
  card.layers[0].parallel_two_norms = true;
  EXPECT_EQ(count_parameters(card).total.n, plain);
}

TEST(Weights, ATiedTableIsHeldByFirstAndLastStage) {
  ModelCard card = tiny();
  card.tied_head = true;
  const std::int64_t table = 100 * 64 * 2;
  const auto group = [&](int rank, const char* name) {
    for (const GroupBytes& g : weight_groups(rank_model(card, decisions_of(1, 2), {}, rank))) {
      if (g.group == std::string(name)) return g.bytes.n;
    }
    return std::int64_t{0};
  };
  EXPECT_EQ(group(0, "embedding"), table);
  EXPECT_EQ(group(0, "head"), 0);
  EXPECT_EQ(group(1, "embedding"), 0);
  EXPECT_EQ(group(1, "head"), table);
}

/// The tensor table a file of this card would have.
std::vector<StoredTensor> file_of(const ModelCard& card, DType matrices) {
  Decisions d = decisions_of();
  d.weights = matrices;
  std::vector<StoredTensor> stored;
  for (const WeightTensor& t : rank_weight_tensors(card, d, 0, {})) {
    stored.push_back({t.name, t.dtype, t.rows, t.columns, t.bytes()});
  }
  return stored;
}

TEST(Weights, TheFileIsTheTruth) {
  const ModelCard card = tiny();
  std::vector<StoredTensor> stored = file_of(card, DType::kQ4_1);
  Bytes expected;
  for (StoredTensor& t : stored) {
    if (t.name == "blk.1.ffn_down.weight") {
      t.dtype = DType::kQ8_0;
      t.bytes = bytes_of(t.dtype, t.rows, t.columns);
    }
    expected += t.bytes;
  }
  const RankModel model = rank_model(card, decisions_of(), stored, 0);
  EXPECT_EQ(weight_bytes(model), expected);
  EXPECT_EQ(model.kinds.size(), 2U) << "layers of different formats are of different kinds";
  EXPECT_EQ(sum(rank_weight_tensors(card, decisions_of(), 0, stored)), expected);
}

TEST(Weights, AFileThatIsNotTheCardIsRefused) {
  const ModelCard card = tiny();
  const std::vector<StoredTensor> good = file_of(card, DType::kF16);
  const auto read = [&](std::vector<StoredTensor> stored) {
    return [=] { rank_model(card, decisions_of(), stored, 0); };
  };
  std::string text;
  std::vector<StoredTensor> missing = good;
  missing.erase(missing.begin() + 3);
  EXPECT_EQ(code_of(read(missing), &text), ErrorCode::kBadCard) << text;
  std::vector<StoredTensor> other_shape = good;
  other_shape[3].rows += 1;
  EXPECT_EQ(code_of(read(other_shape)), ErrorCode::kBadCard);
  std::vector<StoredTensor> more = good;
  more.push_back({"blk.0.ssm_conv1d.weight", DType::kF32, 4, 64, 1024_B});
  EXPECT_EQ(code_of(read(more), &text), ErrorCode::kUnsupported);
  EXPECT_NE(text.find("ssm_conv1d"), std::string::npos);
  std::vector<StoredTensor> rope = good;
  rope.push_back({"rope_freqs.weight", DType::kF32, 1, 8, 32_B});
  EXPECT_EQ(weight_bytes(rank_model(card, decisions_of(), rope, 0)),
            weight_bytes(rank_model(card, decisions_of(), good, 0)));
}

TEST(Weights, FusedTensorsOfAFileCountOnce) {
  const ModelCard card = tiny();
  std::vector<StoredTensor> stored;
  Bytes expected;
  for (StoredTensor t : file_of(card, DType::kF16)) {
    const auto is = [&](const char* part) { return t.name.find(part) != std::string::npos; };
    expected += t.bytes;
    if (is("attn_k.") || is("attn_v.") || is("ffn_gate.")) continue;
    if (is("attn_q.")) {
      t.name = t.name.substr(0, 6) + "attn_qkv.weight";
      t.rows = (4 + 2 + 2) * 16;
    }
    if (is("ffn_up.")) t.rows *= 2;
    stored.push_back(t);
  }
  EXPECT_EQ(weight_bytes(rank_model(card, decisions_of(), stored, 0)), expected);
}

TEST(Weights, AFormatWhoseBlockDoesNotDivideTheRowIsRefused) {
  Decisions d = decisions_of();
  d.weights = DType::kQ4_K;  // blocks of 256, rows of 64
  std::string text;
  EXPECT_EQ(code_of([&] { rank_model(tiny(), d, {}, 0); }, &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--weights"), std::string::npos) << text;
}

TEST(Weights, NonsenseSizesOverflowInsteadOfWrapping) {
  ModelCard card = tiny();
  card.vocab = std::int64_t{1} << 60;
  EXPECT_EQ(code_of([&] { count_parameters(card); }), ErrorCode::kOverflow);
  EXPECT_EQ(code_of([&] { weight_bytes(rank_model(card, decisions_of(), {}, 0)); }),
            ErrorCode::kOverflow);
}

TEST(Weights, PaddingIsWhatRoundingAdds) {
  ModelCard card = llama("odd", {1, 24, 3, 3, 8, 40, 7});
  Bytes expected;
  for (const WeightTensor& t : rank_weight_tensors(card, decisions_of(), 0, {})) {
    expected += Bytes{(256 - t.bytes().n % 256) % 256};
  }
  EXPECT_GT(expected.n, 0);
  EXPECT_EQ(arena_padding(rank_model(card, decisions_of(), {}, 0)), expected);
}

bool is_split(const WeightTensor& tensor) {
  if (tensor.part == Part::kPositions) return false;
  if (tensor.part != Part::kVector) return true;
  const bool column_bias = tensor.name.find("attn_output.bias") != std::string::npos ||
                           tensor.name.find("ffn_down.bias") != std::string::npos;
  return tensor.group != "norms" && !column_bias;
}

RC_GTEST_PROP(Weights, RanksTogetherHoldTheModelAndTheReplicatedTensors, ()) {
  const std::int64_t tp = *rc::gen::element<std::int64_t>(1, 2, 4);
  const std::int64_t pp = *rc::gen::inRange<std::int64_t>(1, 4);
  const std::int64_t layers = *rc::gen::inRange<std::int64_t>(pp, 7);
  Dims dims{layers, 64, 8, 4 * *rc::gen::inRange<std::int64_t>(1, 3), 16, 32 * tp, 4 * 25};
  ModelCard card = llama("any", dims);
  card.learned_positions = *rc::gen::inRange<std::int64_t>(0, 50);
  for (Layer& layer : card.layers) {
    layer.mixer.qkv_bias = *rc::gen::arbitrary<bool>();
    layer.mixer.output_bias = *rc::gen::arbitrary<bool>();
    layer.mixer.qk_norm = *rc::gen::arbitrary<bool>();
    layer.feed_forward.bias = *rc::gen::arbitrary<bool>();
    layer.feed_forward.gated = *rc::gen::arbitrary<bool>();
  }
  const Decisions d = decisions_of(static_cast<int>(tp), static_cast<int>(pp));
  Bytes all_ranks;
  for (int rank = 0; rank < d.sharding.ranks(); ++rank) {
    const RankModel model = rank_model(card, d, {}, rank);
    all_ranks += weight_bytes(model);
    RC_ASSERT(weight_bytes(model) == sum(rank_weight_tensors(card, d, rank, {})));
  }
  Bytes whole, replicated;
  for (const WeightTensor& t : rank_weight_tensors(card, decisions_of(), 0, {})) {
    whole += t.bytes();
    if (!is_split(t)) replicated += t.bytes() * (tp - 1);
  }
  RC_ASSERT(all_ranks == whole + replicated);
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
    return "null";  // a key without a value
  }
  static const std::regex kJson("-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null");
  return std::regex_match(out, kJson) ? out : "\"" + out + "\"";
}

/// model -> published total, for rows whose checkpoint holds just the parameters of the config.
std::map<std::string, std::int64_t> published_totals(const std::string& path) {
  std::map<std::string, std::int64_t> totals;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string model, read, computed, match;
    std::getline(fields, model, ',');
    std::getline(fields, read, ',');
    std::getline(fields, computed, ',');
    std::getline(fields, match, ',');
    if (match == "exact") totals[model] = std::stoll(read);
  }
  return totals;
}

TEST(Weights, ParametersOfPublishedCheckpointsAreExact) {
  const std::string truth = VRAMPLAN_SOURCE_DIR "/../shared/truth/";
  if (!std::filesystem::exists(truth + "params.csv")) GTEST_SKIP() << truth << " is absent";
  const auto totals = published_totals(truth + "params.csv");
  const YamlNode models =
      YamlNode::parse(read_text(*open_file(truth + "models.yaml"), 1_MiB), "models.yaml")
          .at("models");
  std::string unread;
  int compared = 0;
  for (const auto& [name, total] : totals) {
    if (!models.has(name)) continue;
    SCOPED_TRACE(name);
    try {
      const ModelCard card = parse_hf_config(as_json(models.at(name).at("config")), name);
      EXPECT_EQ(count_parameters(card).total.n, total);
      ++compared;
    } catch (const Error& error) {
      const ErrorCode code = error.code();
      EXPECT_TRUE(code == ErrorCode::kUnsupported || code == ErrorCode::kUnknownFamily)
          << error.what();
      unread += " " + name;
    }
  }
  RecordProperty("compared", compared);
  RecordProperty("families_refused", unread);
  EXPECT_GE(compared, 15) << "refused:" << unread;
}

// DeepSeek-V3's first layers are dense, the layer that predicts a further token is like the last:
// about 11.5 billion parameters of its own. Source: README_WEIGHTS.md of the checkpoint.
TEST(Weights, AnMtpLayerIsLikeTheLastOne) {
  ModelCard card = model_card("deepseek-v3");
  card.mtp_loaded = true;
  Decisions d = decisions_of();
  d.weights = DType::kBF16;
  for (const GroupBytes& group : weight_groups(rank_model(card, d, {}, 0))) {
    if (std::string(group.group) != "mtp") continue;
    EXPECT_NEAR(static_cast<double>(group.bytes.n) / 2e9, 11.5, 0.15);
    return;
  }
  FAIL() << "no group";
}

// The latent is cached whole on every rank, so what makes it is, too; what expands it is split.
TEST(Weights, TheLatentIsMadeWholeOnEveryRank) {
  const RankModel model = rank_model(model_card("deepseek-v3"), decisions_of(8, 1), {}, 0);
  std::int64_t down = 0, up = 0;
  for (const WeightTensor& tensor : model.kinds.front().tensors) {
    if (tensor.name == "attn_kv_a_mqa.weight") down = tensor.rows;
    if (tensor.name == "attn_kv_b.weight") up = tensor.rows;
  }
  EXPECT_EQ(down, 512 + 64);
  EXPECT_EQ(up, 128 / 8 * (128 + 128));
}

TEST(Weights, ATowerThatIsSplitByColumnsIs) {
  ModelCard card = tiny();
  card.extras.push_back({"v.down", "encoder", 6, 10, Split::kColumns, true});
  const RankModel model = rank_model(card, decisions_of(2, 1), {}, 0);
  for (const WeightTensor& tensor : model.outside) {
    if (tensor.name != "v.down") continue;
    EXPECT_EQ(tensor.columns, 5);
    EXPECT_EQ(tensor.rows, 6);
    return;
  }
  FAIL() << "no tower";
}

// Mixtral on two ranks: 4 whole experts or a half of 8 take the same bytes; a rank holds no more
// experts than it shares, whole rows of them, and the router of all.
TEST(Weights, SharedExpertsAreWholeAndWeighTheSame) {
  Decisions split = decisions_of(2, 1), shared = split;
  shared.sharding.ep = 2;
  const RankModel half = rank_model(mixtral_8x7b(), split, {}, 0);
  const RankModel whole = rank_model(mixtral_8x7b(), shared, {}, 0);
  EXPECT_EQ(weight_bytes(half), weight_bytes(whole));
  const WeightTensor* up = find_part(whole.kinds.front(), Part::kExpertUp);
  EXPECT_EQ(up->rows, 4 * 14336);
  EXPECT_EQ(up->matrices, 4);
  EXPECT_EQ(find_part(whole.kinds.front(), Part::kExpertDown)->columns, 14336);
  EXPECT_EQ(find_part(whole.kinds.front(), Part::kRouter)->rows, 8);
}

}  // namespace
}  // namespace vramplan
