#include "executor/kv_store.h"

#include <gtest/gtest.h>

#include <cstring>

#include "executor/communicator.h"
#include "executor/engine.h"
#include "executor/need.h"
#include "executor/rank_run.h"
#include "modelcards/library.h"
#include "planner/kv_mix.h"
#include "planner/plan.h"
#include "tests/executor/attention_log.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

/// Three layers of two KV heads of 64: rows that every format holds.
ModelCard card_of_64() {
  ModelCard card = tiny_card(3);
  card.hidden = 64;
  card.context_limit = 4096;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 64;
    layer.mixer.rope.rotary_dim = 64;
  }
  return card;
}

struct Choice {
  const char* name;
  KvFormat format;
  bool strided = false;
  KvPlacement placement = KvPlacement::kDevice;
  const char* layers = nullptr;  // in other formats
  std::uint64_t full_heads = 0;
};

Plan plan_of(const Choice& choice, std::int64_t context = 300, std::int64_t batch = 2) {
  PlanRequest ask;
  ask.model = "tiny";
  ask.device = "cpu-generic";
  ask.context = Tokens{context};
  ask.output = Tokens{90};
  ask.batch = batch;
  ask.threads = 2;
  ask.kv_format = choice.format;
  if (choice.layers != nullptr) ask.kv_layers = parse_kv_layers(choice.layers, "");
  ask.kv_full_heads = {choice.full_heads};
  if (choice.strided) {
    ask.kv_policy = KvPolicy::kStrided;
    ask.kv_residual = Tokens{64};
  }
  if (choice.placement != KvPlacement::kDevice) {
    ask.kv_placement = choice.placement;
    ask.kv_offload = 0.5;
  }
  return make_plan(source_of(card_of_64()), device_card("cpu-generic"), ask);
}

Measurement run_of(const Plan& plan, const char* backend, bool check_first = true) {
  RunRequest request;
  request.check_first = check_first;
  request.random_weights = true;
  request.process_base = 1_B;
  request.offload_directory = testing::TempDir();
  return run_plan(plan.decisions, source_of(card_of_64()), device_card("cpu-generic"), backend,
                  request);
}

const LedgerRow* row_like(const Ledger& ledger, const LedgerRow& row) {
  for (const LedgerRow& r : ledger.rows()) {
    if (r.tier == row.tier && r.category == row.category && r.name == row.name &&
        r.phase == row.phase)
      return &r;
  }
  return nullptr;
}

constexpr Choice kChoices[] = {
    {"kivi2", KvFormat::kKivi2},
    {"kivi4", KvFormat::kKivi4},
    {"strided fp8", KvFormat::kFp8, true},
    {"strided int8", KvFormat::kInt8, true},
    {"kivi2 on the host", KvFormat::kKivi2, false, KvPlacement::kHost},
    {"kivi2 on a disk", KvFormat::kKivi2, false, KvPlacement::kDisk},
    {"strided fp8 on the host", KvFormat::kFp8, true, KvPlacement::kHost},
    {"kivi2, a head in f16", KvFormat::kKivi2, false, KvPlacement::kDevice, nullptr, 2},
    {"kivi4, a head in f16 on the host", KvFormat::kKivi4, false, KvPlacement::kHost, nullptr, 1},
};
/// Layers of several formats: in one pool, in two, with heads of their own.
constexpr Choice kMixes[] = {
    {"plain", KvFormat::kInt8, false, KvPlacement::kDevice, "0:f16,2:q4_0"},
    {"packed beside f16", KvFormat::kKivi2, false, KvPlacement::kDevice, "1:f16"},
    {"f16 beside packed", KvFormat::kF16, false, KvPlacement::kDevice, "0:kivi4,2:kivi2"},
    {"packed alone", KvFormat::kKivi4, false, KvPlacement::kDevice, "2:kivi2"},
    {"heads", KvFormat::kFp8, false, KvPlacement::kDevice, "0:kivi2/1,1:kivi4/0"},
    {"strided", KvFormat::kFp8, true, KvPlacement::kDevice, "1:int8"},
};

TEST(KvStoreRun, ACacheWithAResidualWindowTakesWhatThePlanSays) {
  for (const Choice& choice : kChoices) {
    SCOPED_TRACE(choice.name);
    const Plan plan = plan_of(choice);
    for (const char* backend : {"cpu", "dry"}) {
      SCOPED_TRACE(backend);
      const Measurement m = run_of(plan, backend);
      EXPECT_TRUE(m.complete);
      int cache_rows = 0;
      for (const LedgerRow& row : plan.predictions.ledger.rows()) {
        if (row.category != Category::kKvCache && row.category != Category::kActivations) continue;
        const LedgerRow* seen = row_like(m.observed, row);
        ASSERT_NE(seen, nullptr) << row.name;
        EXPECT_EQ(seen->bytes, row.bytes) << row.name;
        cache_rows += row.category == Category::kKvCache;
      }
      EXPECT_EQ(cache_rows, choice.placement == KvPlacement::kDevice ? 2 : 4);
    }
  }
}

TEST(KvStoreRun, LayersOfSeveralFormatsTakeWhatThePlanSays) {
  for (const Choice& choice : kMixes) {
    SCOPED_TRACE(choice.name);
    const Plan plan = plan_of(choice);
    const std::size_t formats = kv_formats(plan.decisions).size();
    for (const char* backend : {"cpu", "dry"}) {
      SCOPED_TRACE(backend);
      const Measurement m = run_of(plan, backend);
      std::size_t blocks = 0, rows = 0;
      for (const LedgerRow& row : plan.predictions.ledger.rows()) {
        if (row.category != Category::kKvCache && row.category != Category::kActivations) continue;
        const LedgerRow* seen = row_like(m.observed, row);
        ASSERT_NE(seen, nullptr) << row.name;
        EXPECT_EQ(seen->bytes, row.bytes) << row.name;
        blocks += row.name.rfind("blocks ", 0) == 0;
        rows += row.category == Category::kKvCache;
      }
      std::size_t observed = 0;
      for (const LedgerRow& row : m.observed.rows()) observed += row.category == Category::kKvCache;
      EXPECT_EQ(blocks, formats);
      EXPECT_EQ(rows, observed);
      EXPECT_EQ(rows - blocks, plan.decisions.kv_residual.any() ? 1U : 0U);
    }
  }
}

TEST(KvStoreRun, ABlockLessOfAnyPoolOfAMixIsOutOfPlan) {
  for (const char* backend : {"cpu", "dry"}) {
    for (int pool = 0; pool < 3; ++pool) {
      Plan plan = plan_of(kMixes[1]);
      EXPECT_NO_THROW(run_of(plan, backend));
      KvResidual& residual = plan.decisions.kv_residual;
      Blocks& blocks = pool == 0   ? plan.decisions.kv_blocks
                       : pool == 1 ? residual.history
                                   : residual.blocks;
      ASSERT_GT(blocks.n, 0);
      blocks = blocks - Blocks{1};
      for (const bool check_first : {true, false}) {
        try {
          run_of(plan, backend, check_first);
          ADD_FAILURE() << "no error";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), check_first ? ErrorCode::kDoesNotFit : ErrorCode::kOutOfPlan)
              << error.message();
        }
      }
    }
  }
}

/// Named layer by layer or all at once: the same pools, the same tokens.
TEST(KvStoreRun, AMixOfOneFormatIsThatFormat) {
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kKivi2, KvFormat::kQ4_0}) {
    const std::string name = name_of(format);
    const std::string layers = "0:" + name + ",1-2:" + name;
    const Plan one = plan_of({"", format});
    const Plan mix = plan_of({"", KvFormat::kF16, false, KvPlacement::kDevice, layers.c_str()});
    EXPECT_EQ(mix.decisions.kv_format, format);
    EXPECT_EQ(run_of(mix, "cpu").output, run_of(one, "cpu").output);
    if (needs_residual(format)) continue;
    // The same where nobody has settled what the words mean.
    Decisions unsettled = one.decisions;
    unsettled.kv_format = KvFormat::kF32;
    unsettled.kv_layers = parse_kv_layers(layers, "");
    const std::vector<std::int32_t> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
    const auto logits = [&](const Decisions& decisions) {
      const auto backend = make_cpu_backend(2, 1_GiB);
      return prompt_logits(decisions, source_of(card_of_64()), *backend, ids, true);
    };
    EXPECT_EQ(logits(unsettled), logits(one.decisions));
  }
}

/// What attention gives in every call of a run: of layer after layer, pass after pass. Its
/// projection is zero, so that a layer's queries, keys and values do not hang on the cache.
std::vector<std::vector<float>> attention_of(const Plan& plan) {
  LoggingBackend backend(2);
  const ModelSource source = source_of(card_of_64());
  const Decisions& d = plan.decisions;
  const ModelPart part = model_part(source.card, d.sharding, 0);
  const std::int64_t prompt = (d.context - d.output).n;
  const RankNeed need = measure_need(d, source, device_card("cpu-generic"), part,
                                     std::vector<std::int64_t>(2, prompt), false, nullptr);
  SingleCommunicator alone;
  RankEngine engine({backend, alone, alone}, d, source, part, need.sizes);
  LoadOptions load;
  load.fill = WeightFill::kRandom;
  load.seed = 5;
  engine.load(load);
  for (const LayerWeights& layer : engine.weights().layers) {
    const TensorView& output = layer.output.weight.tensor;
    std::memset(output.data, 0, static_cast<std::size_t>(output.bytes().n));
  }
  Scheduler scheduler(engine.kv(), prompts_of(d, source.card.vocab, {}), scheduler_options(d, {}));
  run_passes(engine, scheduler, {});
  return backend.ops().outputs();
}

TEST(KvStoreRun, EachLayerOfAMixGivesWhatItGivesInItsFormatAlone) {
  constexpr std::size_t kLayers = 3;
  const Choice mixes[] = {
      {"", KvFormat::kInt8, false, KvPlacement::kDevice, "0:q4_0,2:f16"},
      {"", KvFormat::kF16, false, KvPlacement::kDevice, "0:kivi2,1:int8"},
      {"", KvFormat::kFp8, false, KvPlacement::kDevice, "1:kivi4/1,2:kivi2"},
  };
  for (const Choice& choice : mixes) {
    SCOPED_TRACE(choice.layers);
    Plan mix = plan_of(choice);
    mix.decisions.prefill_chunk = Tokens{96};
    const auto got = attention_of(mix);
    ASSERT_GT(got.size(), 90 * kLayers);
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      const KvEncoding encoding = kv_encoding(mix.decisions, static_cast<std::int64_t>(layer));
      Choice alone{"", encoding.format};
      alone.full_heads = encoding.full_heads.bits;
      Plan one = plan_of(alone);
      one.decisions.prefill_chunk = Tokens{96};
      const auto wanted = attention_of(one);
      ASSERT_EQ(wanted.size(), got.size());
      for (std::size_t call = layer; call < got.size(); call += kLayers) {
        ASSERT_EQ(got[call], wanted[call]) << "layer " << layer << " call " << call;
      }
    }
    Plan other = plan_of({"", KvFormat::kF32});
    other.decisions.prefill_chunk = Tokens{96};
    EXPECT_NE(got, attention_of(other));
  }
}

TEST(KvStoreRun, TokensAreTheSameWhereverTheHistoryLives) {
  for (const bool strided : {false, true}) {
    const KvFormat format = strided ? KvFormat::kFp8 : KvFormat::kKivi2;
    const auto device = run_of(plan_of({"", format, strided}), "cpu").output;
    for (const KvPlacement placement : {KvPlacement::kHost, KvPlacement::kDisk}) {
      EXPECT_EQ(run_of(plan_of({"", format, strided, placement}), "cpu").output, device)
          << strided << " " << name_of(placement);
    }
  }
}

TEST(KvStoreRun, AWindowThatHoldsAllTokensChangesNoToken) {
  Choice f16{"f16", KvFormat::kF16};
  const auto whole = run_of(plan_of(f16), "cpu").output;
  PlanRequest ask;
  ask.model = "tiny";
  ask.device = "cpu-generic";
  ask.context = Tokens{300};
  ask.output = Tokens{90};
  ask.batch = 2;
  ask.threads = 2;
  ask.kv_format = KvFormat::kKivi2;
  ask.kv_residual = Tokens{320};
  const Plan plan = make_plan(source_of(card_of_64()), device_card("cpu-generic"), ask);
  EXPECT_EQ(plan.decisions.kv_blocks.n, 0);
  EXPECT_EQ(run_of(plan, "cpu").output, whole);
}

TEST(KvStoreRun, ABlockLessIsOutOfPlan) {
  for (const bool of_window : {false, true}) {
    for (const char* backend : {"cpu", "dry"}) {
      Plan plan = plan_of({"", KvFormat::kKivi2});
      EXPECT_NO_THROW(run_of(plan, backend));
      Blocks& blocks = of_window ? plan.decisions.kv_residual.blocks : plan.decisions.kv_blocks;
      blocks = blocks - Blocks{1};
      for (const bool check_first : {true, false}) {
        try {
          run_of(plan, backend, check_first);
          ADD_FAILURE() << "no error";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), check_first ? ErrorCode::kDoesNotFit : ErrorCode::kOutOfPlan)
              << error.message();
        }
      }
    }
  }
}

/// Growth of the context by one block at a capacity that is exactly the plan's.
TEST(KvStoreRun, FitsAtItsPlanAndNotWithABlockMore) {
  std::vector<Choice> choices(std::begin(kChoices), std::end(kChoices));
  choices.insert(choices.end(), std::begin(kMixes), std::end(kMixes));
  for (const Choice& choice : choices) {
    if (choice.placement != KvPlacement::kDevice) continue;
    SCOPED_TRACE(choice.name);
    const auto needed = [&](std::int64_t context) {
      Plan plan = plan_of(choice, context, 1);
      plan.decisions.capacity = 1_B;
      try {
        run_of(plan, "cpu");
      } catch (const Error& error) {
        const std::string text = error.message();
        return Bytes{std::stoll(text.substr(text.find(" B: ") + 4))};
      }
      return Bytes{};
    };
    // 256 of 320 tokens are in blocks behind a window of 64, the newest of 385 begin another one.
    const Bytes need = needed(385);
    Plan plan = plan_of(choice, 385, 1);
    plan.decisions.capacity = need + 1_B;
    EXPECT_TRUE(run_of(plan, "cpu").complete);
    Plan larger = plan_of(choice, 385 + 128, 1);
    larger.decisions.capacity = need + 1_B;
    try {
      run_of(larger, "cpu");
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDoesNotFit) << error.message();
    }
    EXPECT_GT(needed(385 + 128), need);
  }
}

}  // namespace
}  // namespace vramplan
