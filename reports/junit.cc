#include "reports/junit.h"

#include <fmt/format.h>

#include "reports/escape.h"
#include "reports/headline.h"

namespace vramplan {
namespace {

struct Suite {
  std::string cases;
  int tests = 0, failures = 0, skipped = 0;

  /// `body` is finished XML inside the testcase, empty when it passed.
  void add(const std::string& class_name, const std::string& name, const std::string& body) {
    ++tests;
    cases += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"0\"",
                         xml_text(class_name), xml_text(name));
    cases += body.empty() ? "/>\n" : ">" + body + "</testcase>\n";
  }
  void fail(const std::string& class_name, const std::string& name, const std::string& type,
            const std::string& message) {
    ++failures;
    add(class_name, name,
        fmt::format("<failure type=\"{}\" message=\"{}\"/>", xml_text(type), xml_text(message)));
  }
  void skip(const std::string& class_name, const std::string& name, const std::string& message) {
    ++skipped;
    add(class_name, name, fmt::format("<skipped message=\"{}\"/>", xml_text(message)));
  }
};

std::string byte_message(const VerdictRow& row) {
  if (row.outcome == Outcome::kNotMeasured) {
    return fmt::format("predicted {} B, not measured", row.predicted.n);
  }
  return fmt::format("predicted {} B, observed {} B, {:+d} B; allowed +{} B, -{} B",
                     row.predicted.n, row.observed.n, row.error.n, row.tolerance.n,
                     row.under_tolerance.n);
}

void add_row(Suite& suite, const VerdictRow& row) {
  const std::string class_name =
      fmt::format("rank {}.{}.{}", row.rank, name_of(row.tier), name_of(row.category));
  const std::string name = fmt::format("{} ({})", row.name, name_of(row.phase));
  if (row.gates && row.outcome != Outcome::kWithin) {
    suite.fail(class_name, name, name_of(row.outcome), byte_message(row));
  } else if (row.outcome == Outcome::kNotMeasured) {
    suite.skip(class_name, name, byte_message(row));
  } else {
    suite.add(class_name, name, "<system-out>" + xml_text(byte_message(row)) + "</system-out>");
  }
}

void add_time(Suite& suite, const TimeRow& row) {
  const bool measured = row.outcome != Outcome::kNotMeasured;
  const std::string message =
      measured
          ? fmt::format("predicted {}, observed {}, {:+.1f} %; allowed {:.0f} %",
                        time_value(row.name, row.predicted), time_value(row.name, row.observed),
                        100 * row.error, 100 * row.tolerance)
          : "not measured";
  if (row.gates && row.outcome != Outcome::kWithin) {
    suite.fail("time", row.name, name_of(row.outcome), message);
  } else if (!measured) {
    suite.skip("time", row.name, message);
  } else {
    suite.add("time", row.name, "<system-out>" + xml_text(message) + "</system-out>");
  }
}

std::string property(const char* name, const std::string& value) {
  return fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, xml_text(value));
}

Suite suite_of(const RunRecord& run) {
  Suite suite;
  for (const VerdictRow& row : run.verdict.rows) add_row(suite, row);
  add_row(suite, run.verdict.process);
  for (const TimeRow& row : run.verdict.times) add_time(suite, row);
  if (run.verdict.within) {
    suite.add("run", "verdict", "");
  } else {
    std::string all;
    for (const std::string& failure : run.verdict.failures)
      all += (all.empty() ? "" : "; ") + failure;
    suite.fail("run", "verdict", "out_of_tolerance", all);
  }
  return suite;
}

}  // namespace

std::string junit_xml(const std::vector<RunRecord>& runs) {
  std::string suites;
  int tests = 0, failures = 0, skipped = 0;
  for (const RunRecord& run : runs) {
    const Suite suite = suite_of(run);
    const Timings& t = run.measurement.timings;
    const Environment& e = run.measurement.environment;
    suites += fmt::format(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" "
        "time=\"{:.3f}\" timestamp=\"{}\">\n    <properties>\n",
        xml_text(run.name), suite.tests, suite.failures, suite.skipped,
        (t.load + t.prefill + t.decode).v, xml_text(e.time_utc));
    suites += property("model", run.plan.decisions.model) +
              property("device", run.plan.decisions.device) + property("backend", e.backend) +
              property("machine", e.machine) + property("commit", e.commit) +
              property("under_predictions", std::to_string(run.verdict.under_predictions));
    suites += "    </properties>\n" + suite.cases + "  </testsuite>\n";
    tests += suite.tests;
    failures += suite.failures;
    skipped += suite.skipped;
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"vramplan\" tests=\"{}\" "
      "failures=\"{}\" errors=\"0\" skipped=\"{}\">\n{}</testsuites>\n",
      tests, failures, skipped, suites);
}

}  // namespace vramplan
