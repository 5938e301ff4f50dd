#include <sstream>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(ModelsCommand, TheListAndTheNamesAgree) {
  for (const std::string command : {"models", "devices"}) {
    const auto list = run_program({command, "--json"}).json();
    EXPECT_EQ(list["schema"], "vramplan." + command + "/1");
    std::istringstream names(run_program({command, "--names"}).out);
    std::string name;
    for (const auto& card : list[command]) {
      ASSERT_TRUE(std::getline(names, name));
      EXPECT_EQ(card["name"], name);
    }
    EXPECT_FALSE(std::getline(names, name));
    EXPECT_HOLDS(run_program({command}).out, list[command][0]["name"].get<std::string>());
  }
}

TEST(ModelsCommand, ACardShowsItsSourceAndIsACardFileAgain) {
  const Folder folder;
  const Outcome card = run_program({"models", "llama-3-70b"});
  ASSERT_EQ(card.code, 0) << card.err;
  EXPECT_HOLDS(card.out, "source:");
  const std::vector<std::string> rest = {"--device", "h100-sxm-80gb", "--count", "2", "--json"};
  std::vector<std::string> by_name = {"plan", "llama-3-70b"};
  std::vector<std::string> by_file = {"plan", folder.write("card.yaml", card.out)};
  by_name.insert(by_name.end(), rest.begin(), rest.end());
  by_file.insert(by_file.end(), rest.begin(), rest.end());
  EXPECT_EQ(run_program(by_name).json()["totals"], run_program(by_file).json()["totals"]);
  EXPECT_EQ(run_program({"models", "lama-3-70"}).code, 2);
}

TEST(ModelsCommand, TheBeginningOfNamesListsThem) {
  EXPECT_EQ(run_program({"models", "llama-3-", "--names"}).out, "llama-3-70b\nllama-3-8b\n");
  EXPECT_EQ(run_program({"devices", "h100", "--names"}).out,
            "h100-nvl-94gb\nh100-pcie-80gb\nh100-sxm-80gb\n");
  const Outcome unknown = run_program({"plan", "llama-3-8b", "--device", "sxm"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_HOLDS(unknown.err, "did you mean a100-sxm-40gb");
}

TEST(ModelsCommand, EveryFormatHoldsTheSameCards) {
  for (const std::string command : {"models", "devices"}) {
    const std::string name = command == "models" ? "llama-3-70b" : "h100-sxm-80gb";
    const std::string csv = run_program({command, name.substr(0, 5), "-o", "csv"}).out;
    EXPECT_EQ(csv.rfind("name,", 0), 0U);
    EXPECT_HOLDS(csv, "\n" + name + ",");
    EXPECT_HOLDS(run_program({command, name.substr(0, 5), "-o", "yaml"}).out,
                 command + ":\n- name: ");
    EXPECT_HOLDS(run_program({command, name.substr(0, 5), "-o", "md"}).out, "| " + name + " |");
    EXPECT_EQ(run_program({command, name.substr(0, 5), "-o", "json"}).json()["schema"],
              "vramplan." + command + "/1");
    EXPECT_EQ(run_program({command, "-o", "xml"}).code, 2);
  }
  // A card that does not say is no 0.
  EXPECT_HOLDS(run_program({"devices", "h100-sxm", "-o", "yaml"}).out, "price_per_hour_usd: null");
}

TEST(DevicesCommand, ACardShowsTheSourceOfEveryNumberAndIsACardFileAgain) {
  const Folder folder;
  const auto card = run_program({"devices", "h100-sxm-80gb", "--json"}).json();
  EXPECT_EQ(card["schema"], "vramplan.device/1");
  EXPECT_FALSE(card["device"]["capacity_bytes"]["source"].get<std::string>().empty());
  const std::string file = folder.write("card.yaml", run_program({"devices", "h100-sxm-80gb"}).out);
  EXPECT_EQ(run_program({"devices", file, "--json"}).json(), card);
  const Outcome missing = run_program({"devices", "this-machine"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_HOLDS(missing.err, "vramplan calibrate");
}

TEST(SchemaCommand, EverySchemaIsJsonAndAnUnknownOneIsSaid) {
  std::istringstream names(run_program({"schema"}).out);
  std::string name;
  int count = 0;
  for (; std::getline(names, name); ++count) {
    EXPECT_TRUE(run_program({"schema", name}).json().contains("$schema")) << name;
  }
  EXPECT_GE(count, 3);
  const Outcome unknown = run_program({"schema", "plam"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_HOLDS(unknown.err, "did you mean plan?");
}

}  // namespace
}  // namespace vramplan::testing
