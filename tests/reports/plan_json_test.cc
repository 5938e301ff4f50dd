#include "reports/plan_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

using nlohmann::json;

TEST(PlanJson, HoldsTheNamesOfTheContract) {
  const json plan = json::parse(plan_json(samples::cpu_plan()));
  EXPECT_EQ(plan["schema"], "vramplan.plan/1");
  EXPECT_EQ(plan["verdict"], "fits");
  EXPECT_EQ(plan["totals"]["parameters"], 134'515'008);
  EXPECT_EQ(plan["totals"]["weight_bytes"], 96'576'768);
  EXPECT_EQ(plan["totals"]["kv_bytes_per_token"], 23'040);
  const json& device = plan["devices"][0];
  EXPECT_EQ(device["rank"], 0);
  EXPECT_EQ(
      device["capacity_bytes"].get<std::int64_t>() - device["predicted_bytes"].get<std::int64_t>(),
      device["headroom_bytes"].get<std::int64_t>());
  EXPECT_EQ(device["ledger"][0]["tier"], "device");
  EXPECT_EQ(device["ledger"][0]["category"], "weights");
  EXPECT_EQ(device["ledger"][0]["name"], "embedding");
  EXPECT_EQ(device["ledger"][0]["phase"], "load");
  EXPECT_TRUE(device["ledger"][0]["bytes"].is_number_integer());
  EXPECT_EQ(device["ledger"][0]["formula"], "49152 x 576 x 34 / 32 B");
  EXPECT_EQ(plan["capacity"]["kv_equals_weights_tokens"], 4'192);
  EXPECT_EQ(plan["performance"]["limited_by"], "memory bandwidth");
  EXPECT_EQ(plan["assumptions"][0]["flag"], "--batch");
}

TEST(PlanJson, EveryByteCountIsAnInteger) {
  const json plan = json::parse(plan_json(samples::dry_plan())).flatten();
  int counts = 0;
  for (const auto& [path, value] : plan.items()) {
    if (path.find("bytes") == std::string::npos) continue;
    EXPECT_TRUE(value.is_number_integer()) << path;
    ++counts;
  }
  EXPECT_GT(counts, 8 * 9);
}

TEST(PlanJson, KeysAreSortedAndTheTextIsStable) {
  const std::string text = plan_json(samples::cpu_plan());
  EXPECT_EQ(text, plan_json(samples::cpu_plan()));
  EXPECT_LT(text.find("\"advice\""), text.find("\"assumptions\""));
  EXPECT_LT(text.find("\"totals\""), text.find("\"verdict\""));
}

TEST(PlanJson, ReadsBackWhatItWrote) {
  for (Plan plan : {samples::cpu_plan(), samples::dry_plan()}) {
    plan.decisions.weights = DType::kQ8_0;
    plan.decisions.set = {"vocab=1", "hidden=2"};
    plan.decisions.kv_full_heads = KvHeads{5};
    plan.decisions.kv_layers = {{0, 2, KvFormat::kInt8}, {3, 4, {KvFormat::kKivi2, KvHeads{2}}}};
    plan.decisions.kv_residual = {Tokens{128}, 1, Blocks{4}, Blocks{9}};
    plan.decisions.weight_layers = {{0, 2, DType::kF16}, {3, 4, std::nullopt}};
    plan.predictions.fits = false;
    plan.predictions.missing = {17};
    const std::string text = plan_json(plan);
    const Plan again = read_plan_json(text, "plan.json");
    EXPECT_EQ(plan_json(again), text);
    EXPECT_EQ(again.decisions.card_hash, plan.decisions.card_hash);
    EXPECT_EQ(again.decisions.kv_full_heads, plan.decisions.kv_full_heads);
    EXPECT_EQ(again.decisions.kv_layers, plan.decisions.kv_layers);
    EXPECT_EQ(again.decisions.weight_layers, plan.decisions.weight_layers);
    EXPECT_EQ(again.decisions.kv_residual, plan.decisions.kv_residual);
    EXPECT_EQ(again.predictions.ledger.rows().size(), plan.predictions.ledger.rows().size());
  }
}

TEST(PlanJson, WhatOffloadCostsReadsBack) {
  Plan plan = samples::dry_plan();
  plan.predictions.offload =
      OffloadPrediction{{0.5}, 2.5, 4096_B, {0.25}, {3.0}, BytesPerSecond{1489.5}};
  const std::string text = plan_json(plan);
  const auto f = read_plan_json(text, "plan.json").predictions.offload;
  ASSERT_TRUE(f);
  EXPECT_EQ(f->device_tpot.v, 0.5);
  EXPECT_EQ(f->slowdown, 2.5);
  EXPECT_EQ(f->cache, 4096_B);
  EXPECT_EQ(f->reload.v, 0.25);
  EXPECT_EQ(f->recompute.v, 3.0);
  EXPECT_EQ(f->break_even.v, 1489.5);
  EXPECT_EQ(plan_json(read_plan_json(text, "plan.json")), text);
}

TEST(PlanJson, NumbersThatAreNotFiniteAreNullAndBytesThatAreNoUtf8AreReplaced) {
  Plan plan = samples::cpu_plan();
  plan.predictions.performance.ttft = {std::nan("")};
  plan.decisions.model = "model\xff\xfe";
  const json read = json::parse(plan_json(plan));
  EXPECT_TRUE(read["performance"]["ttft_seconds"].is_null());
  EXPECT_NE(read["decisions"]["model"].get<std::string>().find("\xEF\xBF\xBD"), std::string::npos);
}

/// Changes one field of a good document and reads it.
void expect_refused(const std::string& pointer, const json& value, const std::string& field) {
  json plan = json::parse(plan_json(samples::cpu_plan()));
  plan[json::json_pointer(pointer)] = value;
  try {
    read_plan_json(plan.dump(), "plan.json");
    FAIL() << pointer;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadJson);
    EXPECT_EQ(error.file(), "plan.json");
    EXPECT_EQ(error.field(), field);
  }
}

TEST(PlanJson, BadFieldsAreNamed) {
  expect_refused("/schema", "vramplan.plan/2", "schema");
  expect_refused("/verdict", "maybe", "verdict");
  expect_refused("/devices/0/ledger/3/bytes", 1.5, "devices[0].ledger[3].bytes");
  expect_refused("/devices/0/ledger/3/bytes", "12", "devices[0].ledger[3].bytes");
  expect_refused("/devices/0/ledger/0/category", "magic", "devices[0].ledger[0].category");
  expect_refused("/devices", 3, "devices");
  expect_refused("/decisions/batch", -1, "decisions.batch");
  expect_refused("/decisions/tp", 5'000'000'000, "decisions.tp");
  expect_refused("/decisions/card_hash", "0x12", "decisions.card_hash");
  expect_refused("/decisions/kv_policy", "drop_all", "decisions.kv_policy");
  expect_refused("/decisions/activations", "f17", "decisions.activations");
  expect_refused("/totals/weight_bytes", 18446744073709551615u, "totals.weight_bytes");
  expect_refused("/capacity", nullptr, "capacity");
}

TEST(PlanJson, ATruncatedDocumentIsRefusedAtEveryLength) {
  const std::string text = plan_json(samples::cpu_plan());
  for (std::size_t length = 0; length + 2 < text.size(); length += 97) {
    EXPECT_THROW(read_plan_json(text.substr(0, length), "cut.json"), Error) << length;
  }
}

}  // namespace
}  // namespace vramplan
