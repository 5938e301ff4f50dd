#include <fstream>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

const std::vector<std::string> kSmall = {
    "search", "llama-3.1-8b", "--devices", "rtx-4090-24gb", "--most-devices",
    "1",      "--context",    "128k",      "--quality",     "lossless"};

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// 16 GB of weights and 16 GiB of cache are too much for 24 GB; the cache alone may leave.
TEST(SearchCommand, ACacheThatDoesNotFitMayLiveOnTheHost) {
  EXPECT_EQ(run_program(kSmall).code, 3);
  const Outcome run = run_program(with(kSmall, {"--kv-placement", "device,host", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.json()["smallest"]["tier"], "host");
  EXPECT_HOLDS(run_program(with(kSmall, {"--kv-placement", "disk"})).out, "bf16 disk");
  const Outcome csv = run_program(with(kSmall, {"--kv-placement", "host", "-o", "csv"}));
  EXPECT_HOLDS(csv.out, ",tier,");
  EXPECT_HOLDS(csv.out, ",host,");
}

TEST(SearchCommand, AnUnknownPlacementNamesTheNearest) {
  const Outcome run = run_program(with(kSmall, {"--kv-placement", "hots"}));
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "did you mean host");
}

TEST(SearchCommand, APriceOfNothingIsAPriceAndNoneIsNone) {
  const Folder folder;
  const std::string prices = folder / "prices.yaml";
  std::ofstream(prices) << "usd_per_hour: {rtx-4090-24gb: 0}\n";
  const auto search = [&](const std::vector<std::string>& more) {
    return run_program(with({"search", "llama-3.1-8b", "--devices", "RTX-4090-24GB",
                             "--most-devices", "1", "--context", "4k", "--json"},
                            more));
  };
  const Outcome owned = search({"--price-file", prices});
  EXPECT_EQ(owned.code, 0) << owned.err;
  EXPECT_EQ(owned.json()["cheapest"]["usd_per_hour"], 0);
  EXPECT_EQ(owned.json()["cheapest"]["usd_per_million_tokens"], 0);
  const Outcome unknown = search({});
  EXPECT_TRUE(unknown.json()["cheapest"].is_null());
  EXPECT_EQ(unknown.json()["smallest"].count("usd_per_hour"), 0u);
  std::ofstream(prices) << "usd_per_hour: {rtx-4090-24gb: -1}\n";
  EXPECT_EQ(search({"--price-file", prices}).code, 2);
}

}  // namespace
}  // namespace vramplan::testing
