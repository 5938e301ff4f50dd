// Published tokens a second beside the planner's: usage: throughput_accuracy TRUTH FOLDER
// [--terms | --check]. Writes Markdown to stdout; --terms writes what throughput_fit.py reads;
// --check fails when the held-out half is worse than its limits. Ends with 77 without TRUTH.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "bench/accuracy/throughput_cases.h"
#include "modelcards/error.h"

namespace vramplan::accuracy {
namespace {

using Cases = std::vector<ThroughputCase>;
using Pick = std::function<bool(const ThroughputCase&)>;

/// Limits of --check on held-out rows.
constexpr double kMostMean = 0.35, kMostMedian = 0.2;

struct Errors {
  std::size_t rows = 0;
  double mean = 0, median = 0, bias = 0;
  std::size_t doubled = 0;  // off by a factor of two and more, either way
};

Errors errors_of(const Cases& cases, const Pick& pick) {
  std::vector<double> all;
  Errors out;
  for (const ThroughputCase& c : cases) {
    if (!pick(c)) continue;
    all.push_back(std::abs(c.error()));
    out.mean += all.back();
    out.bias += c.error();
    const double ratio = c.predicted / c.observed;
    if (ratio >= 2 || ratio <= 0.5) ++out.doubled;
  }
  out.rows = all.size();
  if (all.empty()) return out;
  const double n = static_cast<double>(all.size());
  out.mean /= n;
  out.bias /= n;
  std::sort(all.begin(), all.end());
  out.median = all[all.size() / 2];
  return out;
}

void print_line(const Cases& cases, const std::string& name, const Pick& pick) {
  const Errors e = errors_of(cases, pick);
  if (e.rows == 0) return;
  fmt::print("| {} | {} | {:.1f} | {:.1f} | {:+.1f} | {} |\n", name, e.rows, 100 * e.mean,
             100 * e.median, 100 * e.bias, e.doubled);
}

void print_groups(const Cases& cases, std::size_t least,
                  const std::function<std::string(const ThroughputCase&)>& key) {
  fmt::print(
      "\n| held-out rows | n | mean | median | bias | off by 2 |\n|---|--:|--:|--:|--:|--:|\n");
  std::map<std::string, std::size_t> groups;
  for (const ThroughputCase& c : cases) {
    if (!c.fit) ++groups[key(c)];
  }
  for (const auto& [name, rows] : groups) {
    if (rows < least) continue;
    print_line(cases, name,
               [&, n = name](const ThroughputCase& c) { return !c.fit && key(c) == n; });
  }
}

/// The mechanisms that were missing, each with what the rows say about it.
void print_causes() {
  fmt::print(
      "\n## What was wrong, by cause\n\n"
      "- Host work of old releases. vLLM 0.6.3 schedules, samples and makes text in the process "
      "that starts the next step: some ms a step that the device waits for, whatever the model. "
      "The tables were fitted to vLLM 0.11 to 0.19 on H100, H200 and B200, which hide it; each "
      "newer fit took more of it away, so rows of an A100 with small models came out worse. It is "
      "a number of the release now (`steps` of `rates.yaml`), and nothing of it reaches newer "
      "releases.\n"
      "- Devices without timed kernels borrow those of an H200 at their own bandwidth. The runs on "
      "an A100 and on an H20 reach less of their data sheets: weights in 16 bits, in fp8 and the "
      "cache alike (`devices`). The H20 of these runs reads 1.4 to 1.6 TB/s of 4.0 in every format "
      "and at every length; why is not known.\n"
      "- Weights of 4 bits without a timed kernel had that of 16 bits with fewer bytes. Unpacking "
      "takes integer lanes; it is counted in operations a weight and follows from the card's "
      "multiprocessors and clock (`unpack`).\n"
      "- Experts in int4 have no fused kernel in SGLang 0.4.6: every layer of them costs the same "
      "half millisecond and more, in two models of different widths (`experts`).\n"
      "- Qwen's fp8 checkpoints of Qwen3 are scaled in blocks; they had been taken for plain fp8.\n"
      "- A static batch of TensorRT-LLM's own benchmark has no server, no arrivals and no queue "
      "(`--arrival static`).\n"
      "- llama.cpp had the times of this project's executor. Its own are in "
      "`planner/llamacpp_times.h`: weights unpacked in memory for every 512 tokens of a prompt, "
      "scores in memory, lanes that bind a step on an A100 and on no other of these devices.\n\n"
      "What is left: llama.cpp with layers split over devices, where prompts in q4_k overlap in "
      "some runs and not in others of the same release: the runs with four A100 SXM (T1025, T1026) "
      "are slower than one of them alone (T1057), those with four A40 (T1081, T1082) state a "
      "deviation of a tenth; a run with eight RTX 4090 is faster at every length than the others' "
      "shares of the peak. TensorRT-LLM 1.0 with Qwen3-235B: its page does not say whether ranks "
      "attended requests of their own, which would let more of them run. TensorRT-LLM 0.6.1 at "
      "2048/2048 (T1383) reads its cache at a fifth of what its newer kernels reach. vLLM 0.6.3 "
      "from 60,000 tokens on: prompts take up to twice as long as predicted.\n");
}

void print_page(const ThroughputCases& table) {
  const Cases& cases = table.cases;
  fmt::print(
      "# Accuracy of throughput\n\nWritten by `bench/accuracy/throughput_accuracy` from published "
      "rows (throughput_cases.csv). Errors are shares of the observation, in per cent; bias is "
      "predicted over observed, signed; `off by 2`: rows at twice or half the observation and "
      "beyond. `rates.yaml` was fitted by `throughput_fit.py` to one half, by bit 32 of FNV-1a of "
      "the question (engine, model, device, format, ranks, requests, lengths, what was measured), "
      "a rule that does not know the model. TensorRT-LLM's rows were fitted to nothing in either "
      "half. All rows had been looked at before the split was made, as errors of a page without "
      "it, so the held-out half was not blind to the choice of mechanisms; it was to their "
      "numbers. It has been looked at twice since: between the two the bytes of llama.cpp's scores "
      "were counted instead of fitted. Served engines: `forecast_serving` with the newest "
      "table and the release's own numbers.\n\n| rows | n | mean | median | bias | off by 2 |\n"
      "|---|--:|--:|--:|--:|--:|\n");
  const Pick fitted = [](const ThroughputCase& c) { return c.fit; };
  const Pick held = [](const ThroughputCase& c) { return !c.fit; };
  const Pick tensorrt = [](const ThroughputCase& c) { return c.engine.rfind("Tensor", 0) == 0; };
  print_line(cases, "all", [](const ThroughputCase&) { return true; });
  print_line(cases, "fitted half", fitted);
  print_line(cases, "**held out**", held);
  print_line(cases, "held out, TensorRT-LLM apart",
             [&](const ThroughputCase& c) { return held(c) && !tensorrt(c); });
  print_line(cases, "TensorRT-LLM, both halves, fitted to nothing", tensorrt);
  print_groups(cases, 1, [](const ThroughputCase& c) {
    return fmt::format("{}, {}, {}", c.engine, c.device, c.what);
  });
  print_causes();
  print_groups(cases, 4, [](const ThroughputCase& c) {
    const bool experts = c.model.find("-a") != std::string::npos;
    return fmt::format("{}, {}, {}{}, {}", c.engine, c.device, c.format, experts ? " experts" : "",
                       c.what);
  });
  Cases worst;
  fmt::print("\nOff by a factor of two, of both halves:");
  for (const ThroughputCase& c : cases) {
    if (held(c)) worst.push_back(c);
    const double ratio = c.predicted / c.observed;
    if (ratio < 2 && ratio > 0.5) continue;
    fmt::print(" {} ({}, {}, {} {}/{}, {:+.0f} %)", c.id, c.engine, c.model, c.device, c.input,
               c.output, 100 * c.error());
  }
  fmt::print(".\n");
  std::sort(worst.begin(), worst.end(), [](const ThroughputCase& a, const ThroughputCase& b) {
    return std::abs(a.error()) > std::abs(b.error());
  });
  fmt::print(
      "\n## Worst held-out rows\n\n| row | engine | model | format | device | ranks | batch | in | "
      "out | what | observed | predicted | error |\n|---|---|---|---|---|--:|---|--:|--:|---|--:|"
      "--:|--:|\n");
  for (std::size_t i = 0; i < std::min<std::size_t>(25, worst.size()); ++i) {
    const ThroughputCase& c = worst[i];
    fmt::print(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.4g} | {:.4g} | {:+.0f} % |\n", c.id,
        c.engine, c.model, c.format, c.device, c.ranks, c.batch, c.input, c.output, c.what,
        c.observed, c.predicted, 100 * c.error());
  }
  fmt::print("\n## Rows left out, by reason\n\n| reason | rows |\n|---|--:|\n");
  for (const auto& [why, rows] : table.left_out) fmt::print("| {} | {} |\n", why, rows);
}

void print_terms(const Cases& cases) {
  fmt::print(
      "id,half,group,engine,release,device,format,experts,tokens,observed,request_s,memory_s,"
      "step_s,unpack_s,experts_s,step_bytes,step_quantised,step_plain,flops,weights,unpacked,"
      "vectors,scores,unpack,ubatches,layers,stages,quantised\n");
  for (const ThroughputCase& c : cases) {
    if (c.group.empty()) continue;
    const LlamacppTerms& t = c.llamacpp;
    fmt::print("{},{},{},{},{},{},{},{},{:.8g},{:.8g},{:.8g},{:.8g},{:.8g},{:.8g},{:.8g}", c.id,
               c.fit ? "fit" : "held", c.group, c.engine, c.release, c.device, c.format,
               c.model.find("-a") != std::string::npos ? 1 : 0, c.tokens, c.observed, c.request_s,
               c.memory_s, c.step_s, c.unpack_s, c.experts_s);
    for (const double value :
         {t.step_bytes, t.step_quantised, t.step_plain, t.flops, t.weights, t.unpacked, t.vectors,
          t.scores, t.unpack, t.ubatches, t.layers, t.stages, t.quantised}) {
      fmt::print(",{:.8g}", value);
    }
    fmt::print("\n");
  }
}

int check(const Cases& cases) {
  const Errors e = errors_of(cases, [](const ThroughputCase& c) { return !c.fit; });
  fmt::print(
      "held out: {} rows, mean {:.1f} % (at most {:.0f}), median {:.1f} % (at most {:.0f})\n",
      e.rows, 100 * e.mean, 100 * kMostMean, 100 * e.median, 100 * kMostMedian);
  return e.rows > 120 && e.mean <= kMostMean && e.median <= kMostMedian ? 0 : 1;
}

}  // namespace
}  // namespace vramplan::accuracy

int main(int count, char** arguments) {
  if (count < 3) {
    std::fputs("usage: throughput_accuracy TRUTH FOLDER [--terms | --check]\n", stderr);
    return 2;
  }
  const std::string truth = arguments[1], mode = count > 3 ? arguments[3] : "";
  if (!std::filesystem::exists(truth + "/throughput_cases.csv")) return 77;
  try {
    const auto table = vramplan::accuracy::read_throughput_cases(truth);
    if (mode == "--check") return vramplan::accuracy::check(table.cases);
    mode == "--terms" ? vramplan::accuracy::print_terms(table.cases)
                      : vramplan::accuracy::print_page(table);
    return 0;
  } catch (const vramplan::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
