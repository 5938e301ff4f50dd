// What the program writes obeys the schemas it prints: a small reader of the parts of JSON Schema
// they use.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

using nlohmann::json;

bool is_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") return value.is_number_integer();
  return type == "number" && value.is_number();
}

/// Complaints, each with its path. A property the schema does not know is one too: the schema is
/// where a reader of the output looks.
void check(const json& value, const json& schema, const std::string& path,
           std::vector<std::string>& wrong) {
  if (schema.contains("type")) {
    const json types = schema["type"].is_array() ? schema["type"] : json::array({schema["type"]});
    bool any = false;
    for (const json& type : types) any = any || is_type(value, type.get<std::string>());
    if (!any) wrong.push_back(path + " is " + value.type_name() + ", not " + schema["type"].dump());
  }
  if (schema.contains("const") && value != schema["const"]) wrong.push_back(path + " is another");
  if (schema.contains("enum")) {
    bool any = false;
    for (const json& word : schema["enum"]) any = any || word == value;
    if (!any) wrong.push_back(path + " = " + value.dump() + " is not in the list");
  }
  if (schema.contains("minimum") && value.is_number() &&
      value.get<double>() < schema["minimum"].get<double>()) {
    wrong.push_back(path + " is too small");
  }
  if (value.is_array() && schema.contains("items")) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      check(value[i], schema["items"], path + "[" + std::to_string(i) + "]", wrong);
    }
  }
  if (!value.is_object() || !schema.contains("properties")) return;
  for (const json& name : schema.value("required", json::array())) {
    if (!value.contains(name.get<std::string>())) wrong.push_back(path + " lacks " + name.dump());
  }
  for (const auto& [name, member] : value.items()) {
    if (!schema["properties"].contains(name)) {
      wrong.push_back(path + "." + name + " is not in the schema");
    } else {
      check(member, schema["properties"][name], path + "." + name, wrong);
    }
  }
}

void expect_valid(const json& output, const std::string& name) {
  std::vector<std::string> wrong;
  check(output, run_program({"schema", name}).json(), name, wrong);
  for (const std::string& complaint : wrong) ADD_FAILURE() << complaint;
}

TEST(SchemaCommand, ThePlanForAnEngineObeysItsSchema) {
  for (const char* engine : {"vllm@0.19.0", "sglang", "trtllm", "llamacpp"}) {
    std::vector<std::string> words = {"plan",     "llama-3.1-8b", "--device", "h100-sxm-80gb",
                                      "--engine", engine,         "--json"};
    if (std::string(engine) != "llamacpp") {
      words.insert(words.end(), {"--concurrency", "8", "--input-tokens", "1000"});
    }
    const Outcome run = run_program(words);
    ASSERT_EQ(run.code, 0) << run.err;
    expect_valid(run.json(), "plan");
    EXPECT_EQ(run.json()["decisions"]["engine"]["engine"], engine);
  }
  expect_valid(run_program({"plan", "llama-3-70b", "--device", "h100-sxm-80gb", "--json"}).json(),
               "plan");
}

TEST(SchemaCommand, ASearchObeysItsSchema) {
  const Outcome found = run_program({"search", "llama-3.1-8b", "--context", "8k", "--json"});
  ASSERT_EQ(found.code, 0) << found.err;
  expect_valid(found.json(), "search");
  const Outcome none = run_program({"search", "llama-3.1-405b", "--context", "8k", "--devices",
                                    "t4-16gb", "--most-devices", "1", "--json"});
  expect_valid(none.json(), "search");
  EXPECT_EQ(none.json()["verdict"], "none");
}

TEST(SchemaCommand, AVerifiedLogObeysItsSchema) {
  const Folder folder;
  const std::string log =
      folder.write("boot.log",
                   "INFO vLLM API server version 0.19.0\n"
                   "INFO Model loading took 14.99 GiB memory and 3.2 seconds\n"
                   "INFO Available KV cache memory: 55.00 GiB\n"
                   "INFO GPU KV cache size: 450,560 tokens\n"
                   "INFO Maximum concurrency for 8,192 tokens per request: 55.00x\n");
  const Outcome run = run_program({"verify-log", log, "llama-3.1-8b", "--device", "h100-sxm-80gb",
                                   "--max-model-len", "8192", "--engine", "vllm@0.19.0", "--json"});
  ASSERT_TRUE(run.code == 0 || run.code == 5) << run.err;
  expect_valid(run.json(), "log");
  EXPECT_GE(run.json()["rows"].size(), 2u);
}

}  // namespace
}  // namespace vramplan::testing
