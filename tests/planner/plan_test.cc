#include "planner/plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <tuple>

#include "cards.h"
#include "modelcards/library.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

using namespace test;

const LedgerRow& row(const Plan& plan, const std::string& name, Phase phase = Phase::kLoad,
                     int rank = 0) {
  for (const LedgerRow& r : plan.predictions.ledger.rows()) {
    if (r.name == name && r.phase == phase && r.rank == rank) return r;
  }
  throw std::runtime_error("no row " + name);
}

PlanRequest ask_f16(std::int64_t context, std::int64_t batch, int count = 1) {
  PlanRequest request = ask(context, batch, count);
  request.kv_format = KvFormat::kF16;
  return request;
}

TEST(Plan, SeventyBillionAt32kAndAt2kTimes64) {
  const Plan one = plan_of(llama_3_70b(), bare_gpu(400_GiB), ask_f16(32'768, 1));
  EXPECT_EQ(one.predictions.totals.parameters.n, 70'553'706'496);
  EXPECT_EQ(one.predictions.totals.weight_bytes.n, 141'107'412'992);
  EXPECT_EQ(one.predictions.totals.kv_bytes_per_token.n, 327'680);
  EXPECT_EQ(one.predictions.totals.kv_bytes, 10_GiB);
  EXPECT_EQ(row(one, "blocks").bytes, 10_GiB);
  const Plan many = plan_of(llama_3_70b(), bare_gpu(400_GiB), ask_f16(2'048, 64));
  EXPECT_EQ(row(many, "blocks").bytes, 40_GiB);
  const Plan longer = plan_of(llama_3_70b(), bare_gpu(400_GiB), ask_f16(131'072, 1));
  EXPECT_EQ(row(longer, "blocks").bytes, 40_GiB);
}

TEST(Plan, TwoEightyGigabyteCardsHoldTheLongSequenceAndNotTheBatch) {
  const Plan one = plan_of(llama_3_70b(), gpu_80gb(), ask_f16(32'768, 1, 2));
  EXPECT_TRUE(one.predictions.fits) << one.predictions.binding_constraint;
  EXPECT_EQ(one.predictions.missing.n, 0);
  const Plan many = plan_of(llama_3_70b(), gpu_80gb(), ask_f16(2'048, 64, 2));
  EXPECT_FALSE(many.predictions.fits);
  EXPECT_GT(many.predictions.missing.n, 0);
  EXPECT_EQ(many.predictions.missing, -many.predictions.devices[0].headroom);
  EXPECT_FALSE(many.predictions.advice.empty());
}

TEST(Plan, ShippedCardsGiveTheSameAnswers) {
  const ModelCard card = model_card("llama-3-70b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  EXPECT_TRUE(plan_of(card, device, ask_f16(32'768, 1, 2)).predictions.fits);
  const Plan many = plan_of(card, device, ask_f16(2'048, 64, 2));
  EXPECT_FALSE(many.predictions.fits);
  EXPECT_EQ(many.predictions.totals.parameters.n, 70'553'706'496);
  EXPECT_EQ(
      plan_of(model_card("llama-2-7b"), device, ask_f16(8'192, 1)).predictions.totals.kv_bytes,
      4_GiB);
  EXPECT_EQ(
      plan_of(model_card("smollm2-135m"), device, ask(2'048, 1)).predictions.totals.parameters.n,
      134'515'008);
}

TEST(Plan, RowsAreThoseOfTheContract) {
  using Key = std::tuple<TierKind, Category, std::string, Phase>;
  const auto keys = [](const Plan& plan) {
    std::set<Key> out;
    for (const LedgerRow& r : plan.predictions.ledger.rows())
      out.insert({r.tier, r.category, r.name, r.phase});
    EXPECT_EQ(out.size() * static_cast<std::size_t>(plan.decisions.sharding.ranks()),
              plan.predictions.ledger.rows().size());
    return out;
  };
  const TierKind device = TierKind::kDevice;
  std::set<Key> common = {{device, Category::kWeights, "embedding", Phase::kLoad},
                          {device, Category::kWeights, "attention", Phase::kLoad},
                          {device, Category::kWeights, "feed_forward", Phase::kLoad},
                          {device, Category::kWeights, "norms", Phase::kLoad},
                          {device, Category::kWeights, "head", Phase::kLoad},
                          {device, Category::kKvCache, "blocks", Phase::kLoad},
                          {device, Category::kActivations, "peak", Phase::kPrefill},
                          {device, Category::kActivations, "peak", Phase::kDecode},
                          {device, Category::kRuntime, "arena padding", Phase::kLoad}};
  std::set<Key> on_cpu = common;
  on_cpu.insert({device, Category::kRuntime, "process base", Phase::kLoad});
  EXPECT_EQ(keys(plan_of(tiny(), cpu(1_GiB), ask(128, 1))), on_cpu);
  std::set<Key> on_gpu = common;
  on_gpu.insert({{device, Category::kRuntime, "context", Phase::kLoad},
                 {device, Category::kRuntime, "modules", Phase::kLoad},
                 {device, Category::kWorkspace, "gemm", Phase::kLoad},
                 {device, Category::kWorkspace, "indices", Phase::kLoad},
                 {device, Category::kWorkspace, "f32 vectors", Phase::kLoad},
                 {device, Category::kRuntime, "arena rounding", Phase::kLoad},
                 {device, Category::kGraphs, "decode", Phase::kLoad},
                 {TierKind::kHost, Category::kWorkspace, "staging", Phase::kLoad},
                 {TierKind::kHost, Category::kRuntime, "process base", Phase::kLoad}});
  EXPECT_EQ(keys(plan_of(tiny(), gpu_80gb(), ask(128, 1))), on_gpu);
  on_gpu.insert({device, Category::kComm, "communicator", Phase::kLoad});
  EXPECT_EQ(keys(plan_of(tiny(), gpu_80gb(), ask(128, 1, 2))), on_gpu);
}

TEST(Plan, PaddingOfTheWeightArenaHasItsRow) {
  const Plan plan = plan_of(tiny(), cpu(1_GiB), ask(128, 1));
  const Bytes padding = arena_padding(rank_model(tiny(), plan.decisions, {}, 0));
  EXPECT_GT(padding.n, 0);
  EXPECT_EQ(row(plan, "arena padding").bytes, padding);
}

TEST(Plan, OneTokenOfOutputMeansNoDecode) {
  PlanRequest request = ask(128, 1);
  request.output = 1_tokens;
  const Plan plan = plan_of(tiny(), cpu(1_GiB), request);
  for (const LedgerRow& r : plan.predictions.ledger.rows()) EXPECT_NE(r.phase, Phase::kDecode);
}

TEST(Plan, FormulasCarryTheirNumbers) {
  const Plan plan = plan_of(llama_3_70b(), bare_gpu(400_GiB), ask_f16(32'768, 1));
  EXPECT_NE(
      row(plan, "blocks").formula.find("2 x 80 layers x 8 kv heads x 128 x 2 B = 327,680 B/token"),
      std::string::npos)
      << row(plan, "blocks").formula;
  EXPECT_NE(row(plan, "attention").formula.find("80 layers x (q 8192 x 8192"), std::string::npos);
  for (const LedgerRow& r : plan.predictions.ledger.rows())
    EXPECT_FALSE(r.formula.empty()) << r.name;
}

TEST(Plan, NonsenseOverflowsInsteadOfWrapping) {
  const auto plan = [](std::int64_t context, std::int64_t batch) {
    return [=] { plan_of(llama_3_70b(), bare_gpu(400_GiB), ask(context, batch)); };
  };
  EXPECT_EQ(code_of(plan(std::int64_t{1} << 62, 1)), ErrorCode::kOverflow);
  EXPECT_EQ(code_of(plan(std::int64_t{1} << 40, 1 << 20)), ErrorCode::kOverflow);
  EXPECT_EQ(code_of(plan(std::numeric_limits<std::int64_t>::max(), 1)), ErrorCode::kOverflow);
  ModelCard card = tiny();
  card.layers[0].feed_forward.intermediate = std::int64_t{1} << 61;
  EXPECT_EQ(code_of([&] { plan_of(card, bare_gpu(1_GiB), ask(64, 1)); }), ErrorCode::kOverflow);
}

TEST(Plan, AHugeContextThatStillCountsIsAnAnswerNotAWait) {
  const Plan plan = plan_of(tiny(), bare_gpu(1_GiB), ask(std::int64_t{1} << 45, 1));
  EXPECT_FALSE(plan.predictions.fits);
  EXPECT_GT(plan.predictions.performance.ttft.v, 0);
}

TEST(Plan, SlidingWindowsAreChargedAsChosenAndSaidSo) {
  ModelCard card = tiny();
  const Bytes full = plan_of(card, bare_gpu(1_GiB), ask(8192, 1)).predictions.totals.kv_bytes;
  EXPECT_TRUE(plan_of(card, bare_gpu(1_GiB), ask(8192, 1)).decisions.window_pools.empty());
  for (Layer& layer : card.layers) {
    layer.mixer.kind = MixerKind::kSlidingWindow;
    layer.mixer.window_tokens = 512;
  }
  PlanRequest request = ask(8192, 1);
  request.prefill_chunk = 512_tokens;
  // The window and a chunk: 511 + 512 tokens, one token into a block.
  const Plan windowed = plan_of(card, bare_gpu(1_GiB), request);
  EXPECT_EQ(windowed.predictions.totals.kv_bytes * 512, full * 64);
  EXPECT_EQ(windowed.decisions.window_pools, (std::vector<WindowPool>{{512_tokens, Blocks{64}}}));
  request.kv_policy = KvPolicy::kKeepAll;
  const Plan plan = plan_of(card, bare_gpu(1_GiB), request);
  EXPECT_EQ(plan.predictions.totals.kv_bytes, full);
  bool said = false;
  for (const Assumption& a : plan.assumptions) {
    said = said ||
           (a.what == "sliding-window layers" && a.value.find("would save") != std::string::npos);
  }
  EXPECT_TRUE(said);
}

TEST(Plan, EveryRankOfEveryStageIsPredicted) {
  PlanRequest request = ask(2048, 4);
  request.count = 8;
  request.tp = 4;
  request.pp = 2;
  const Plan plan = plan_of(llama_3_70b(), gpu_80gb(), request);
  ASSERT_EQ(plan.predictions.devices.size(), 8U);
  for (int rank = 0; rank < 8; ++rank)
    EXPECT_EQ(plan.predictions.devices[static_cast<std::size_t>(rank)].rank, rank);
  EXPECT_THROW(row(plan, "head", Phase::kLoad, 0), std::runtime_error);
  EXPECT_THROW(row(plan, "embedding", Phase::kLoad, 4), std::runtime_error);
  EXPECT_EQ(row(plan, "head", Phase::kLoad, 7).bytes,
            row(plan, "embedding", Phase::kLoad, 0).bytes);
}

/// Side tensors of a linear layer of [rows, columns] in a packed checkpoint, and its weight.
struct PackedLayout {
  DType format;
  std::vector<std::pair<const char*, std::function<std::int64_t(std::int64_t, std::int64_t)>>>
      parts;
};

std::vector<PackedLayout> packed_layouts() {
  using N = std::int64_t;
  return {{DType::kAwqI4,
           {{"qweight", [](N r, N c) { return r * c / 2; }},
            {"qzeros", [](N r, N c) { return r * c / 128 / 2; }},
            {"scales", [](N r, N c) { return r * c / 128 * 2; }}}},
          {DType::kGptqI4,
           {{"qweight", [](N r, N c) { return r * c / 2; }},
            {"qzeros", [](N r, N c) { return r * c / 128 / 2; }},
            {"scales", [](N r, N c) { return r * c / 128 * 2; }},
            {"g_idx", [](N, N c) { return 4 * c; }}}},
          {DType::kFp8Block,
           {{"weight", [](N r, N c) { return r * c; }},
            {"weight_scale_inv", [](N r, N c) { return r / 128 * (c / 128) * 4; }}}},
          {DType::kNvfp4Packed,
           {{"weight", [](N r, N c) { return r * c / 2; }},
            {"weight_scale", [](N r, N c) { return r * c / 16; }},
            {"weight_scale_2", [](N, N) { return 4; }},
            {"input_scale", [](N, N) { return 4; }}}}};
}

ModelSource packed_folder(const PackedLayout& layout) {
  ModelSource source = source_of(llama("packed", {2, 256, 4, 2, 64, 512, 1000}));
  source.kind = SourceKind::kFolder;
  source.card.stored_weights = layout.format;
  source.card.unpacked_weights = DType::kBF16;
  const auto plain = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    source.stored.push_back({name, DType::kBF16, rows, columns, Bytes{2 * rows * columns}});
  };
  plain("model.embed_tokens.weight", 1000, 256);
  plain("lm_head.weight", 1000, 256);
  plain("model.norm.weight", 1, 256);
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    plain(prefix + "input_layernorm.weight", 1, 256);
    plain(prefix + "post_attention_layernorm.weight", 1, 256);
    const std::tuple<const char*, std::int64_t, std::int64_t> linears[] = {
        {"self_attn.q_proj.", 256, 256}, {"self_attn.k_proj.", 128, 256},
        {"self_attn.v_proj.", 128, 256}, {"self_attn.o_proj.", 256, 256},
        {"mlp.gate_proj.", 512, 256},    {"mlp.up_proj.", 512, 256},
        {"mlp.down_proj.", 256, 512}};
    for (const auto& [name, rows, columns] : linears) {
      for (const auto& [part, bytes] : layout.parts) {
        source.stored.push_back({prefix + name + part, DType::kI8, 1, bytes(rows, columns),
                                 Bytes{bytes(rows, columns)}});
      }
    }
  }
  return source;
}

std::string headers_sentence(const ModelSource& source) {
  PlanRequest request = ask(64, 1);
  const Plan plan = make_plan(source, gpu_80gb(), request);
  for (const Assumption& a : plan.assumptions) {
    if (a.what == "weights of the checkpoint") return a.value;
  }
  return "";
}

// Scales, zeros, tables and indices of packed checkpoints: the formula is the sum of the headers.
TEST(Plan, PackedCheckpointsTakeWhatTheirHeadersSay) {
  for (const PackedLayout& layout : packed_layouts()) {
    ModelSource source = packed_folder(layout);
    EXPECT_EQ(headers_sentence(source).rfind("by formula, the same bytes", 0), 0u)
        << info(layout.format).name << ": " << headers_sentence(source);
    source.stored.push_back({"model.layers.0.self_attn.k_scale", DType::kF32, 1, 1, Bytes{4}});
    EXPECT_EQ(headers_sentence(source).rfind("by formula, 4 B less than its headers", 0), 0u)
        << headers_sentence(source);
  }
}

}  // namespace
}  // namespace vramplan
