// Records of GPUs as regression tests of the planner: each plan is made again from its case and the
// card of the record, and held against the rows that were measured then.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bench/gpu/plan_matrix.h"
#include "planner/ledger.h"

namespace vramplan {
namespace {

using nlohmann::json;

json read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

Bytes predicted(const Plan& plan, const json& row) {
  Bytes bytes;
  for (const LedgerRow& r : plan.predictions.ledger.rows()) {
    if (r.rank == row.at("rank") && name_of(r.tier) == row.at("tier") &&
        name_of(r.category) == row.at("category") && r.name == row.at("name") &&
        name_of(r.phase) == row.at("phase")) {
      bytes += r.bytes;
    }
  }
  return bytes;
}

/// Tensors to the byte; the process at most 1 % and 256 MiB off, and never under.
void replay(const json& record) {
  const DeviceCard card = parse_device_card(record.at("device_card"), "record");
  for (const json& entry : record.at("plans")) {
    const record::PlanCase c = record::case_from_json(entry.at("case"));
    SCOPED_TRACE(entry.at("case").dump());
    if (!entry.contains("verify")) {
      ADD_FAILURE() << "the run failed: " << entry.value("error", "");
      continue;
    }
    const bool file = c.model.size() > 5 && c.model.substr(c.model.size() - 5) == ".gguf";
    if (file && !std::filesystem::exists(c.model))
      continue;  // weights are not kept with the record
    const ModelSource source = record::source_of_case(c);
    const Plan plan = record::plan_case(c, source, card);
    for (const json& row : entry.at("verify").at("rows")) {
      const std::string category = row.at("category");
      const bool exact = category == "weights" || category == "kv_cache" ||
                         category == "activations" || category == "workspace" ||
                         row.at("name") == "arena padding" || row.at("name") == "arena rounding";
      if (!exact || row.at("observed_bytes").is_null()) continue;
      EXPECT_EQ(predicted(plan, row).n, row.at("observed_bytes").get<std::int64_t>())
          << category << " " << row.at("name");
    }
    const json& observed = entry.at("verify").at("process").at("observed_bytes");
    if (observed.is_null()) continue;
    const auto seen = observed.get<std::int64_t>();
    const std::int64_t error = plan.predictions.ledger.peak(0, TierKind::kDevice).n - seen;
    EXPECT_GE(error, 0) << "under-predicted";
    EXPECT_LE(error, std::min<std::int64_t>(seen / 100, 256 << 20));
  }
}

TEST(Records, ThePlannerStillPredictsWhatWasMeasured) {
  const std::filesystem::path folder =
      std::filesystem::path(VRAMPLAN_SOURCE_DIR) / "bench" / "gpu" / "records";
  int records = 0;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
      if (file.path().extension() != ".json") continue;
      SCOPED_TRACE(file.path().filename().string());
      const json record = read(file.path());
      if (!record.contains("plans")) continue;
      replay(record);
      ++records;
    }
  }
  if (records == 0) {
    GTEST_SKIP() << "no GPU has been recorded yet: bench/gpu/records holds no plans";
  }
}

/// The recorder itself, on the fake device: every part, and its own replay.
TEST(Records, TheRecorderWritesWhatReplayReads) {
  const std::filesystem::path out =
      std::filesystem::temp_directory_path() / ("record-" + std::to_string(getpid()) + ".json");
  const std::string command = std::string(GPU_RECORD_ON_FAKE) +
                              " --commit test --divide-shapes 64 --seconds 24 --part device --part "
                              "rates --part kernels --part plans --out " +
                              out.string() + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const json record = read(out);
  std::filesystem::remove(out);
  EXPECT_FALSE(record.contains("errors")) << record.value("errors", json()).dump();
  EXPECT_EQ(record.at("commit"), "test");
  EXPECT_EQ(record.at("device").at("allocation_rounding").front().at("taken_bytes"), 2 << 20);
  EXPECT_FALSE(record.at("kernels").at("points").empty());
  ASSERT_FALSE(record.at("plans").empty());
  replay(record);
}

}  // namespace
}  // namespace vramplan
