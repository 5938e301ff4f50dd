#include "reports/html.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reports/assets.h"
#include "tests/reports/samples.h"
#include "tests/reports/temporary_file.h"

namespace vramplan {
namespace {

using testing_files::run_command;
using testing_files::write_temporary;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every name an attack that, if it worked, would mark the page or break it.
RunRecord hostile_run() {
  const std::string attack =
      "</script></title></svg><img src=x onerror=\"document.documentElement.dataset.broken='1'\">"
      "<script>document.documentElement.dataset.broken=1</script>'\"&\x01\x1b[31m\xff\xe2\x80\xa8";
  Plan plan = samples::cpu_plan();
  plan.decisions.model = attack;
  plan.decisions.device = "http://example.org/" + attack;
  plan.assumptions[0] = {attack, "https://example.org", attack};
  plan.predictions.advice = {attack};
  plan.predictions.binding_constraint = attack;
  plan.predictions.performance.limited_by = attack;
  plan.predictions.performance.decode_terms[0].op = attack;
  Measurement m = samples::cpu_measurement();
  m.environment = {attack, attack, attack, attack, "cpu", attack, 2};
  m.samples[3].moment = attack;
  m.text = attack;
  m.observed.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, attack, Phase::kLoad, 77, attack));
  return make_run(attack, plan, m, {});
}

std::vector<std::string> pages() {
  return {html_report({samples::cpu_run()}), html_report({hostile_run(), samples::dry_run()}),
          plan_html(samples::dry_plan()), plan_html(hostile_run().plan), html_report({})};
}

TEST(Html, NoPageHoldsAnOutsideAddress) {
  for (const std::string& page : pages()) {
    EXPECT_FALSE(has(page, "http"));
    EXPECT_FALSE(has(page, "url("));
    EXPECT_FALSE(has(page, "@import"));
  }
}

TEST(Html, NamesNeverBecomeMarkup) {
  for (const std::string& page : pages()) {
    EXPECT_FALSE(has(page, "<img"));
    EXPECT_FALSE(has(page, "<script>document"));
    for (const char c : page) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
    EXPECT_FALSE(has(page, "\xe2\x80\xa8"));
    EXPECT_FALSE(has(page, "\xff"));
  }
}

TEST(Html, ThePolicyForbidsEverythingButItsOwnTexts) {
  const std::string page = html_report({samples::cpu_run()});
  EXPECT_TRUE(has(page, "default-src 'none'; style-src 'sha256-"));
  EXPECT_FALSE(has(page, "unsafe-inline"));
  EXPECT_FALSE(has(page, " style=\"")) << "the policy would drop it";
  EXPECT_FALSE(has(page, " onclick="));
  EXPECT_EQ(std::string(kReportJsSha256).size(), 64u);
}

TEST(Html, TheEmbeddedDataIsTheJsonOfTheRun) {
  const std::string page = html_report({hostile_run()});
  const std::string open = "<script type=\"application/json\" id=\"data-0\">";
  const std::size_t begin = page.find(open) + open.size();
  const auto data =
      nlohmann::json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  EXPECT_EQ(data["schema"], "vramplan.verify/1");
  EXPECT_EQ(data["rows"].size(), 11u);
  EXPECT_TRUE(has(data["plan"]["decisions"]["model"].get<std::string>(), "</script>"));
}

TEST(Html, TheScriptStaysShort) {
  const std::string script = kReportJs;
  EXPECT_LE(std::count(script.begin(), script.end(), '\n'), 200);
}

TEST(Html, SaysNotMeasuredAndVirtualInWords) {
  const std::string page = html_report({samples::dry_run()});
  EXPECT_TRUE(has(page, "not measured"));
  EXPECT_TRUE(has(page, "virtual clock, not a measurement"));
}

// The page opened in a browser, with the style and script that its own policy must let through.
std::string browser() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    if (testing_files::has_program(name)) return name;
  }
  return "";
}

std::string opened(const std::string& name, const std::string& html) {
  const std::string path = write_temporary(name, html);
  const std::string profile = ::testing::TempDir() + "vramplan_profile_" + name;
  return run_command("timeout 100 " + browser() +
                     " --headless --no-sandbox --disable-gpu --user-data-dir=" + profile +
                     " --dump-dom 'file://" + path + "#check' 2> /dev/null; rm -rf " + profile)
      .output;
}

TEST(HtmlInABrowser, ChecksItself) {
  if (browser().empty()) GTEST_SKIP() << "no chromium";
  const std::string dom =
      opened("report.html", html_report({samples::cpu_run(), hostile_run(), samples::dry_run()}));
  EXPECT_TRUE(has(dom, "data-check=\"ok\"")) << dom.substr(0, 600);
  EXPECT_TRUE(has(dom, "data-rows=\"33\""));    // 11 + 12 + 10, equal ranks once
  EXPECT_TRUE(has(dom, "data-charts=\"18\""));  // three pictures, two widths, three runs
  EXPECT_FALSE(has(dom, "data-broken"));
}

TEST(HtmlInABrowser, APlanChecksItself) {
  if (browser().empty()) GTEST_SKIP() << "no chromium";
  const std::string dom = opened("plan.html", plan_html(samples::dry_plan()));
  EXPECT_TRUE(has(dom, "data-check=\"ok\"")) << dom.substr(0, 600);
  EXPECT_TRUE(has(dom, "data-charts=\"4\""));
}

TEST(HtmlInABrowser, TheCheckSeesAMissingRowAndAForeignScriptDoesNotRun) {
  if (browser().empty()) GTEST_SKIP() << "no chromium";
  std::string html = html_report({samples::cpu_run()});
  const std::size_t row = html.find("<tr data-ranks=");
  html.erase(row, html.find("</tr>", row) + 5 - row);
  html.insert(html.find("<main>"), "<script>document.documentElement.dataset.broken=1</script>");
  const std::string dom = opened("broken.html", html);
  EXPECT_TRUE(has(dom, "data-check=\"failed: rows 10 of 11")) << dom.substr(0, 600);
  EXPECT_FALSE(has(dom, "data-broken")) << "the policy names the hash of the page's own script";
}

}  // namespace
}  // namespace vramplan
