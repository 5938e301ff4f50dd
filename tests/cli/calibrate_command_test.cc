#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(CalibrateCommand, WritesACardThatPlanUses) {
  const Folder folder;
  const std::string home = "XDG_DATA_HOME=" + shell_word(folder / "data");
  const Outcome run = run_program({"calibrate", "--quick", "--threads", "1", "--json"}, home);
  ASSERT_EQ(run.code, 0) << run.err;
  const auto card = run.json();
  EXPECT_EQ(card["schema"], "vramplan.calibration/1");
  EXPECT_GT(card["process_base_bytes"].get<std::int64_t>(), 1 << 20);
  EXPECT_GT(card["replica_base_bytes"].get<std::int64_t>(), 1 << 16);
  EXPECT_LT(card["replica_base_bytes"].get<std::int64_t>(), 32 << 20);
  EXPECT_GT(card["capacity_bytes"].get<std::int64_t>(), 1 << 28);
  EXPECT_TRUE(std::filesystem::exists(card["path"].get<std::string>()));

  const Outcome device = run_program({"devices", "this-machine"}, home);
  EXPECT_HOLDS(device.out, "linear_decode");
  EXPECT_HOLDS(device.out, "measured");
  const Outcome plan = run_program({"plan", "smollm2-135m", "--context", "1k", "--json"}, home);
  EXPECT_HOLDS(plan.out, "as calibrated in");
  EXPECT_EQ(run_program({"calibrate", "--threads", "0"}).code, 2);
}

}  // namespace
}  // namespace vramplan::testing
