#include "planner/engines/shell_script.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "modelcards/error.h"
#include "planner/engines/command.h"

namespace vramplan {
namespace {

using Words = std::vector<std::string>;

Words words(const std::string& script, const Variables& known = {}) {
  return engine_step(script, known).words;
}

/// Code and message of the refusal.
std::string refused(const std::string& script, const Variables& known = {}) {
  try {
    words(script, known);
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.message();
  }
  return "taken";
}

TEST(ShellScript, TheOneStepThatStartsAnEngineIsFound) {
  const Words expected = {"vllm", "serve", "m", "-tp", "2"};
  EXPECT_EQ(words("vllm serve m -tp 2"), expected);
  EXPECT_EQ(words("set -euo pipefail; cd /x && vllm serve m -tp 2"), expected);
  EXPECT_EQ(words("#!/bin/sh\n# vllm serve other\necho vllm serve && vllm serve m \\\n  -tp 2\n"),
            expected);
  EXPECT_EQ(words("pip install vllm > /dev/null 2>&1 || true\nvllm serve m -tp 2"), expected);
  EXPECT_EQ(words("exec vllm serve m -tp 2").back(), "2");
  EXPECT_EQ(words("bash -c 'export A=2; exec vllm serve m -tp $A'").back(), "2");
  EXPECT_TRUE(words("ls; cat x").empty());
}

TEST(ShellScript, VariablesOfTheScriptAndTheEnvironmentAreFilledIn) {
  const Variables known = {{"LEN", "4096"}, {"EXTRA", "--port 80 --seed 1"}};
  EXPECT_EQ(words("M='a b'\nexport T=2\nvllm serve \"$M\" -tp ${T}", known),
            (Words{"vllm", "serve", "a b", "-tp", "2"}));
  EXPECT_EQ(words("vllm serve m --max-model-len $LEN $EXTRA", known).size(), 9u);
  EXPECT_EQ(words("vllm serve m \"$EXTRA\"", known).size(), 4u) << "quoted, it is one word";
  EXPECT_EQ(words("vllm serve m -tp ${N:-4}").back(), "4");
  EXPECT_EQ(words("vllm serve m -tp ${N:-${LEN}}", known).back(), "4096");
  EXPECT_EQ(words("vllm serve '$LEN'", known).back(), "$LEN");
  EXPECT_EQ(words("unset LEN; vllm serve m -tp ${LEN:-1}", known).back(), "1");
}

TEST(ShellScript, WhatOnlyAShellKnowsIsMarked) {
  EXPECT_EQ(unknown_in(words("vllm serve $MODEL").back()), "$MODEL");
  EXPECT_EQ(unknown_in(words("vllm serve m -tp $(nvidia-smi -L | wc -l)").back()),
            "$(nvidia-smi -L | wc -l)");
  EXPECT_EQ(unknown_in(words("N=$(x); vllm serve m -tp $N").back()), "$(x)");
  EXPECT_EQ(unknown_in(words("vllm serve \"$@\"").back()), "$@");
  EXPECT_EQ(unknown_in(filled_by_kubelet(Words{"vllm", "serve", "$(M)"}, {}).back()), "$(M)");
  EXPECT_EQ(filled_by_kubelet(Words{"sh", "-c", "$(M)"}, {}).back(), "$(M)");
}

TEST(ShellScript, AnUnknownValueIsRefusedWhereItDecidesMemory) {
  const auto parse = [](const std::string& script) {
    try {
      parse_command(words(script), "0.19.0");
    } catch (const Error& error) {
      return error.message();
    }
    return std::string("taken");
  };
  EXPECT_EQ(parse("vllm serve m --max-model-len $LEN"), "the value of $LEN is not written here");
  EXPECT_EQ(parse("vllm serve $MODEL"), "the value of $MODEL is not written here");
  EXPECT_EQ(parse("vllm serve m $MORE"), "the value of $MORE is not written here");
  EXPECT_EQ(parse("vllm serve m --api-key $KEY --port $PORT --host ${POD_IP}"), "taken");
}

TEST(ShellScript, OtherShellSyntaxIsRefusedByName) {
  EXPECT_EQ(refused("vllm serve m | tee log"),
            "101 '|' outside quotes is shell syntax that is not read");
  EXPECT_EQ(refused("vllm serve m &").substr(0, 3), "101");
  EXPECT_EQ(refused("vllm serve m > log").substr(0, 3), "101");
  EXPECT_EQ(refused("vllm serve a; vllm serve b"), "101 more than one step starts an engine");
  EXPECT_EQ(refused("if x; then vllm serve m; fi").substr(0, 3), "601");
  EXPECT_EQ(refused("f() { vllm serve m; }").substr(0, 3), "601");
  EXPECT_EQ(refused("cat <<EOF\nvllm serve m\nEOF").substr(0, 3), "601");
  EXPECT_EQ(refused("vllm serve m\n--port 80"), "101 a line begins with the flag '--port'");
  EXPECT_EQ(refused("vllm serve 'm"), "101 a quote is never closed");
  EXPECT_EQ(refused("vllm serve ${M"), "101 a '${' is never closed");
  EXPECT_EQ(refused(std::string("vllm serve \x1a") + "m"),
            "101 a control character stands in the script");
}

TEST(ShellScript, ExportedVariablesReachTheEngineAndOthersDoNot) {
  const EngineStep step = engine_step("A=1; export B=2; llama-server", Variables{{"C", "3"}});
  EXPECT_EQ(step.environment, (Variables{{"B", "2"}, {"C", "3"}}));
}

// A billion laughs: each variable twice the one before.
TEST(ShellScript, FilledTextIsBounded) {
  std::string script = "A0=aaaaaaaaaa\n";
  for (int i = 1; i < 60; ++i) {
    const std::string before = "$A" + std::to_string(i - 1);
    script += "A" + std::to_string(i) + "=" + before + before + "\n";
  }
  EXPECT_EQ(refused(script + "vllm serve $A59").substr(0, 3), "101");
  std::string nested = "x";
  for (int i = 0; i < 2000; ++i) nested = "${A:-" + nested + "}";
  EXPECT_EQ(refused("vllm serve " + nested).substr(0, 3), "601");
}

TEST(ShellScript, KubeletsAndComposeFillInTheirOwnForms) {
  const Variables known = {{"A", "1"}};
  EXPECT_EQ(filled_by_kubelet("$(A) $A ${A} $$(A) $(B)", known, false), "1 $A ${A} $(A) $(B)");
  EXPECT_EQ(filled_by_compose("$A ${A} $$A ${B:-2}", known), "1 1 $A 2");
  EXPECT_EQ(unknown_in(filled_by_compose("${B}", known)), "$B");
}

RC_GTEST_PROP(ShellScript, AnyTextIsReadOrRefused, ()) {
  const std::string text = *rc::gen::container<std::string>(
      rc::gen::elementOf(std::string("vllm serve $M${}()\"'\\;&|<>=\n -#A:-`")));
  try {
    engine_step("A=1; " + text + " vllm serve m $A", Variables{{"M", "x y"}});
  } catch (const Error& error) {
    const int code = exit_code(error.code());
    RC_ASSERT(code == 2 || code == 6);
  }
}

}  // namespace
}  // namespace vramplan
