#include "executor/kv_store.h"

#include <gtest/gtest.h>

#include "executor/engine.h"
#include "modelcards/library.h"
#include "planner/plan.h"
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
  for (const Choice& choice : kChoices) {
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
