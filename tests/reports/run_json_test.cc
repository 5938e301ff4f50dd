#include "reports/run_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

using nlohmann::json;

TEST(RunJson, HoldsTheNamesOfTheContract) {
  const json run = json::parse(verify_json(samples::cpu_run()));
  EXPECT_EQ(run["schema"], "vramplan.verify/1");
  EXPECT_EQ(run["verdict"], "within_tolerance");
  EXPECT_EQ(run["exit_code"], 0);
  for (const char* name :
       {"rank", "tier", "category", "name", "predicted_bytes", "observed_bytes", "outcome"}) {
    EXPECT_TRUE(run["rows"][0].contains(name)) << name;
  }
  EXPECT_EQ(run["process"]["observed_bytes"], 133'115'904);
  EXPECT_EQ(run["process"]["predicted_bytes"], 132'112'896);
  EXPECT_EQ(run["performance"]["predicted"]["tpot_seconds"], 0.0213);
  EXPECT_EQ(run["performance"]["observed"]["tpot_seconds"], 0.0221);
  const json& c = run["capacity"][0];
  EXPECT_EQ(c["capacity_bytes"].get<std::int64_t>(),
            c["free_bytes"].get<std::int64_t>() + c["rows_bytes"].get<std::int64_t>() +
                c["unaccounted_bytes"].get<std::int64_t>());
  EXPECT_EQ(run["scoring"]["under_predictions"], 2);
  EXPECT_EQ(json::parse(run_json(samples::cpu_run()))["schema"], "vramplan.run/1");
}

TEST(RunJson, WhatWasNotMeasuredIsNullNeverZero) {
  const json run = json::parse(verify_json(samples::dry_run()));
  EXPECT_TRUE(run["process"]["observed_bytes"].is_null());
  EXPECT_EQ(run["process"]["outcome"], "not_measured");
  EXPECT_TRUE(run["samples"][0]["resident_bytes"].is_null());
}

TEST(RunJson, GuessesReadBackAndADrawnAcceptanceSaysSo) {
  Plan plan = samples::cpu_plan();
  plan.decisions.speculation = {Guess::kNgram, 4, "", 0, 0.6};
  plan.predictions.speculation = SpeculationPrediction{2.3, {0.04}, {0.02}, 1.2};
  Measurement m = samples::cpu_measurement();
  m.speculation = SpeculationCounts{20, 80, 45, 65, 60, true};
  m.timings.tokens_a_step = 3.25;
  const std::string text = run_json(make_run("r", plan, m, {}));
  const json object = json::parse(text)["speculation_counts"];
  EXPECT_EQ(object["by_chance"], true);
  EXPECT_EQ(object["acceptance"], 0.75);
  EXPECT_EQ(object["assumed_acceptance"], 0.6);
  const RunRecord again = read_run_json(text, "run.json");
  EXPECT_EQ(again.measurement.speculation, m.speculation);
  EXPECT_EQ(run_json(again), text);
}

TEST(RunJson, OutOfToleranceIsExitCodeFive) {
  Measurement m = samples::cpu_measurement();
  m.complete = false;
  const RunRecord run = make_run("r", samples::cpu_plan(), m, {});
  const json object = json::parse(verify_json(run));
  EXPECT_EQ(object["verdict"], "out_of_tolerance");
  EXPECT_EQ(object["exit_code"], 5);
  EXPECT_EQ(exit_code_of(run.verdict), 5);
}

TEST(RunJson, ReadsBackWhatItWrote) {
  for (const RunRecord& run : {samples::cpu_run(), samples::dry_run()}) {
    const std::string text = run_json(run);
    const RunRecord again = read_run_json(text, "run.json");
    EXPECT_EQ(run_json(again), text);
    EXPECT_EQ(again.name, "run.json");
    EXPECT_EQ(read_run_json(verify_json(run), "v.json").verdict.within, run.verdict.within);
  }
}

TEST(RunJson, ASavedVerdictIsJudgedAnew) {
  json object = json::parse(verify_json(samples::cpu_run()));
  object["rows"][0]["observed_bytes"] = 1;  // the saved outcome still says within
  const RunRecord run = read_run_json(object.dump(), "edited.json");
  EXPECT_FALSE(run.verdict.within);
  ASSERT_FALSE(run.verdict.notes.empty());
  EXPECT_NE(run.verdict.notes.back().find("judged anew"), std::string::npos);
}

TEST(RunJson, MoreRanksThanThereCanBeAreRefused) {
  const json good = json::parse(run_json(samples::cpu_run()));
  const auto code = [&](const std::vector<std::pair<const char*, std::int64_t>>& changes) {
    json run = good;
    for (const auto& [key, value] : changes) run["plan"]["decisions"][key] = value;
    try {
      read_run_json(run.dump(), "run.json");
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  ASSERT_TRUE(good["plan"]["decisions"].contains("tp"));
  EXPECT_EQ(code({}), ErrorCode::kInternal) << "read";
  EXPECT_EQ(code({{"tp", 65537}, {"device_count", 65537}}), ErrorCode::kBadJson);
  EXPECT_EQ(code({{"tp", 65536}, {"pp", 65536}}), ErrorCode::kBadJson);
  EXPECT_EQ(code({{"tp", 0}}), ErrorCode::kBadJson);
  EXPECT_EQ(code({{"ep", 3}}), ErrorCode::kBadJson);
  EXPECT_EQ(code({{"device_count", 2}}), ErrorCode::kBadJson);
}

TEST(RunJson, BadFieldsAreNamed) {
  const auto refused = [](const char* pointer, const json& value, const std::string& field) {
    json object = json::parse(run_json(samples::cpu_run()));
    object[json::json_pointer(pointer)] = value;
    try {
      read_run_json(object.dump(), "run.json");
      FAIL() << pointer;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadJson);
      EXPECT_EQ(error.field(), field);
    }
  };
  refused("/schema", "vramplan.plan/1", "schema");
  refused("/verdict", "fine", "verdict");
  refused("/rows/2/observed_bytes", 1.0, "rows[2].observed_bytes");
  refused("/rows/2/rank", 4294967296, "rows[2].rank");
  refused("/samples/0/phase", "lunch", "samples[0].phase");
  refused("/plan/devices/0/rank", -3, "plan.devices[0].rank");
  refused("/output/token_ids/0/0", 4294967296, "output.token_ids[0][0]");
  refused("/environment/threads", "2", "environment.threads");
  EXPECT_THROW(read_run_json("[1, 2]", "list.json"), Error);
  EXPECT_THROW(read_run_json("", "empty.json"), Error);
}

}  // namespace
}  // namespace vramplan
