// The JSON that is written fits the schemas that are shipped, and the schemas can say no.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "reports/baseline.h"
#include "reports/plan_json.h"
#include "reports/run_json.h"
#include "tests/reports/samples.h"
#include "tests/reports/temporary_file.h"

namespace vramplan {
namespace {

using nlohmann::json;
using testing_files::run_command;
using testing_files::write_temporary;

std::string schema_path(const std::string& name) {
  return std::string(VRAMPLAN_SOURCE_DIR) + "/reports/schema/" + name + ".json";
}

json schema(const std::string& name) {
  std::ifstream in(schema_path(name));
  std::stringstream text;
  text << in.rdbuf();
  return json::parse(text.str());
}

struct Case {
  std::string schema;
  json document;
  bool valid;
  std::string what;
};

/// One line for each case that the validator judged otherwise; all in one process, it starts
/// slowly.
std::string surprises(const std::vector<Case>& cases) {
  json list = json::array();
  for (const Case& c : cases) list.push_back({schema_path(c.schema), c.document, c.valid, c.what});
  const std::string path = write_temporary("schema_cases.json", list.dump());
  return run_command(
             "python3 -c 'import json,sys\n"
             "from jsonschema import Draft202012Validator as V\n"
             "for path, document, valid, what in json.load(open(sys.argv[1])):\n"
             "    schema = json.load(open(path))\n"
             "    V.check_schema(schema)\n"
             "    errors = [e.json_path + \": \" + e.message for e in "
             "V(schema).iter_errors(document)]\n"
             "    if valid != (not errors): print(path, what, errors[:3])\n' " +
             path)
      .output;
}

std::string sample(const std::string& name) {
  if (name == "plan") return plan_json(samples::cpu_plan());
  if (name == "run") return run_json(samples::dry_run());
  if (name == "verify") return verify_json(samples::cpu_run());
  Measurement worse = samples::cpu_measurement();
  worse.timings.decode_step_seconds.assign(63, 0.1);
  return comparison_json(
      {compare(samples::cpu_run(), make_run("now", samples::cpu_plan(), worse, {}), {})});
}

constexpr const char* kNames[] = {"plan", "run", "verify", "comparison"};

TEST(Schemas, FitWhatIsWrittenAndRefuseWhatIsNot) {
  if (run_command("python3 -c 'import jsonschema; jsonschema.Draft202012Validator'").status != 0) {
    GTEST_SKIP() << "python3 has no jsonschema (python3-jsonschema)";
  }
  std::vector<Case> cases;
  for (const char* name : kNames) {
    const json good = json::parse(sample(name));
    cases.push_back({name, good, true, "a sample"});
    json other = good;
    other["schema"] = "vramplan.other/1";
    cases.push_back({name, other, false, "another version"});
    for (const auto& [field, value] : good.items()) {
      json incomplete = good;
      incomplete.erase(field);
      cases.push_back({name, incomplete, false, "without " + field});
    }
  }
  json plan = json::parse(sample("plan"));
  plan["totals"]["weight_bytes"] = "96 MB";
  cases.push_back({"plan", plan, false, "bytes as text"});
  plan["totals"]["weight_bytes"] = 1.5;
  cases.push_back({"plan", plan, false, "bytes as a fraction"});
  EXPECT_EQ(surprises(cases), "");
}

/// Without a validator: what is written is required, what is required is written.
TEST(Schemas, NameExactlyTheFieldsOfTheTopLevel) {
  for (const char* name : kNames) {
    const json shape = schema(name);
    const json document = json::parse(sample(name));
    for (const auto& [field, value] : document.items()) {
      EXPECT_TRUE(shape["properties"].contains(field)) << name << " " << field;
    }
    for (const json& field : shape["required"]) {
      EXPECT_TRUE(document.contains(field)) << name << " " << field;
    }
  }
}

TEST(Schemas, RunAndVerifyHoldThePlanSchemaAndDifferOnlyInTheirName) {
  json plan = schema("plan");
  plan.erase("$schema");
  plan.erase("title");
  json run = schema("run"), verify = schema("verify");
  EXPECT_EQ(run["$defs"]["plan"], plan);
  for (json* s : {&run, &verify}) {
    s->erase("title");
    (*s)["properties"].erase("schema");
  }
  EXPECT_EQ(run, verify);
}

}  // namespace
}  // namespace vramplan
