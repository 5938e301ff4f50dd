// What each KV technique saves and what it costs, on a real model, predicted and observed: writes
// the tables of a README between its markers.
//
//   techniques MODEL.gguf TEXT.txt README.md [DEVICE]
//
// Bytes and times are those of a run on the cpu backend beside its plan for DEVICE (a card's name
// or file). Quality is that of the text prefilled in chunks of 128 tokens, against the f16 cache
// that keeps everything: what a chunk sees of the chunks before it, it sees through the cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bench/techniques/quality.h"
#include "bench/techniques/setting.h"
#include "executor/block_table.h"
#include "executor/rng.h"
#include "modelcards/library.h"
#include "planner/kv_cache.h"

namespace vramplan {
namespace {

constexpr const char* kBegin = "<!-- written by the program techniques: begin -->";
constexpr const char* kEnd = "<!-- written by the program techniques: end -->";

struct Technique {
  const char* name;
  PlanRequest request;
};

std::vector<Technique> techniques() {
  std::vector<Technique> all;
  const auto add = [&](const char* name, KvFormat format = KvFormat::kF16) -> PlanRequest& {
    all.push_back({name, base_request()});
    all.back().request.kv_format = format;
    return all.back().request;
  };
  add("f16, all tokens");
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16, KvFormat::kFp8, KvFormat::kInt8,
                                KvFormat::kQ8_0, KvFormat::kQ4_0}) {
    add(name_of(format), format);
  }
  add("contiguous").kv_layout = KvLayout::kContiguous;
  const auto keep = [&](const char* name, std::int64_t sinks, std::int64_t window,
                        KvFormat format) {
    PlanRequest& request = add(name, format);
    request.kv_policy = KvPolicy::kSinkWindow;
    request.kv_sinks = Tokens{sinks};
    request.kv_window = Tokens{window};
  };
  keep("4 sinks, window 512", 4, 512, KvFormat::kF16);
  keep("4 sinks, window 128", 4, 128, KvFormat::kF16);
  keep("4 sinks, window 128, int8", 4, 128, KvFormat::kInt8);
  add("a fifth by attention").kv_policy = KvPolicy::kMass;
  PlanRequest& decayed = add("a fifth by attention, decayed");
  decayed.kv_policy = KvPolicy::kMass;
  decayed.kv_score = KvScore::kDecayed;
  keep("no sinks, window 132", 0, 132, KvFormat::kF16);
  for (const KvFormat format : {KvFormat::kKivi4, KvFormat::kKivi2}) {
    add(name_of(format), format).prefill_chunk = Tokens{96};
  }
  for (const auto& [name, format] : {std::pair{"1 in 4 tokens before 512, fp8", KvFormat::kFp8},
                                     std::pair{"1 in 4 tokens before 512, int8", KvFormat::kInt8},
                                     std::pair{"1 in 4 tokens before 512, f16", KvFormat::kF16}}) {
    add(name, format).kv_policy = KvPolicy::kStrided;
  }
  return all;
}

class Bench {
 public:
  Bench(const std::string& model, const std::string& text, const std::string& device)
      : setting_(model, text, device) {
    line("{}, {} tokens; plan for {}.", setting_.source.card.name, setting_.ids.size(),
         setting_.device.name);
  }

  std::string run() {
    quality();
    long_context();
    sharing();
    prefix();
    waste();
    return out_ + system_tables(setting_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  std::vector<float> logits_of(Decisions decisions) const {
    decisions.linear_inputs = DType::kF32;  // no rounding but the cache's
    const auto backend =
        make_cpu_backend(decisions.threads, decisions.capacity, decisions.linear_inputs);
    return prompt_logits(decisions, setting_.source, *backend, setting_.ids, false);
  }

  void quality() {
    line(
        "\n| KV cache | bytes predicted | observed | of f16 | step predicted | observed | "
        "perplexity "
        "| KL mean | KL worst | same best |");
    line("|---|---|---|---|---|---|---|---|---|---|");
    std::vector<float> base;
    double full = 0;
    for (const Technique& technique : techniques()) {
      const PlannedRun r = setting_.run_of(technique.request, {setting_.ids}, 33);
      const std::vector<float> logits = logits_of(r.plan.decisions);
      if (base.empty()) base = logits;
      if (full == 0) full = static_cast<double>(r.observed().n);
      const Quality q = compare(logits, base, setting_.ids);
      line(
          "| {} | {} | {} | {:.1f} % | {:.2f} ms | {:.2f} ms | {:.3f} | {:.5f} | {:.4f} | {:.1f} % "
          "|",
          technique.name, r.predicted().n, r.observed().n,
          100 * static_cast<double>(r.observed().n) / full,
          1e3 * r.plan.predictions.performance.tpot.v, 1e3 * r.measurement.timings.tpot.v,
          q.perplexity, q.mean_divergence, q.worst_divergence, 100 * q.same_best);
      std::fprintf(stderr, "%s\n", technique.name);
    }
  }

  /// 8192 tokens in the cache when the last one is made: bytes only, so weights are random.
  PlannedRun long_run(const char* model, const char* layers, const char* device,
                      PlanRequest request) const {
    request.model = model;
    request.device = device;
    request.context = Tokens{8193};
    request.output = Tokens{3};
    request.batch = 1;
    if (layers != nullptr) request.set = {layers};
    const bool cpu = layers != nullptr;
    if (cpu) request.threads = 2;
    ModelSource source;
    source.card = model_card(model);
    for (const std::string& change : request.set) set_field(source.card, change);
    const DeviceCard card = device_card(device);
    PlannedRun result;
    result.plan = make_plan(source, card, request);
    RunRequest run;
    run.random_weights = true;
    result.measurement = run_plan(result.plan.decisions, source, card, cpu ? "cpu" : "dry", run);
    return result;
  }

  void long_rows(const char* name, const char* model, const char* layers, const char* device) {
    double full = 0;
    const auto row = [&](const std::string& cache, const PlanRequest& request) {
      const PlannedRun r = long_run(model, layers, device, request);
      const auto kept = static_cast<double>(r.observed().n);
      if (full == 0) full = kept;
      line("| {} | {} | {} | {} | {:.2f} | {:+.1f} % |", name, cache, r.predicted().n,
           r.observed().n, full / kept, 100 * (kept / full - 1));
      std::fprintf(stderr, "%s %s\n", name, cache.c_str());
    };
    PlanRequest request;
    const auto with = [&](KvFormat format, bool strided, bool host) {
      request = {};
      request.kv_format = format;
      if (strided) request.kv_policy = KvPolicy::kStrided;
      if (host) request.kv_placement = KvPlacement::kHost;
      if (host) request.kv_offload = 0.8;
      return request;
    };
    row("f16", with(KvFormat::kF16, false, false));
    row("fp8", with(KvFormat::kFp8, false, false));
    row("int8", with(KvFormat::kInt8, false, false));
    row("kivi4", with(KvFormat::kKivi4, false, false));
    row("kivi2", with(KvFormat::kKivi2, false, false));
    row("1 in 4 before 512, fp8", with(KvFormat::kFp8, true, false));
    row("f16, 80 % to the host", with(KvFormat::kF16, false, true));
    row("int8, 80 % to the host", with(KvFormat::kInt8, false, true));
    row("kivi2, 80 % to the host", with(KvFormat::kKivi2, false, true));
  }

  void long_context() {
    line("\n| 8192 tokens of | KV cache | device bytes predicted | observed | times smaller | |");
    line("|---|---|---|---|---|---|");
    long_rows("five layers of SmolLM2-135M, run on the cpu", "smollm2-135m", "layer_count=5",
              "cpu-generic");
    long_rows("Llama-2-7B, dry run", "llama-2-7b", nullptr, "h200-sxm-141gb");
  }

  void sharing_row(const std::string& name, const PlannedRun& r) {
    const Decisions& d = r.plan.decisions;
    const Bytes block{r.predicted().n / d.kv_blocks.n};
    const Bytes copies = block * kv_blocks_unshared(d).n;
    line("| {} | {} | {} | {} | {:.1f} % |", name, copies.n, r.predicted().n, r.observed().n,
         100 * (1 - static_cast<double>(r.observed().n) / static_cast<double>(copies.n)));
  }

  void sharing() {
    line("\n| shared blocks | bytes of copies | predicted | observed | saved |");
    line("|---|---|---|---|---|");
    for (const auto& [count, what] : {std::pair(3, "samples"), {8, "samples"}, {3, "beams"}}) {
      PlanRequest request = base_request();
      request.batch = count;
      (what[0] == 'b' ? request.beams : request.samples) = count;
      sharing_row(fmt::format("{} {} of one prompt at 1024 tokens", count, what),
                  setting_.run_of(request, {setting_.first(1008)}, 16));
    }
  }

  /// Four prompts that begin alike: what the later ones take until their first token.
  void prefix() {
    constexpr std::size_t kShared = 896, kPrompt = 1000;
    std::vector<std::vector<std::int32_t>> prompts(4, setting_.first(kPrompt));
    for (std::size_t i = 1; i < prompts.size(); ++i) {
      for (std::size_t t = kShared; t < kPrompt; ++t) prompts[i][t] = setting_.ids[t + i * 60];
    }
    PlanRequest request = base_request();
    request.batch = 4;
    const PlannedRun apart = setting_.run_of(request, prompts, 8);
    request.shared_prefix = Tokens{kShared};
    const PlannedRun shared = setting_.run_of(request, prompts, 8);
    sharing_row("4 prompts of 1000 tokens, 896 alike", shared);
    const auto later = [](const Measurement& m) {
      return (m.timings.prefill.v - m.timings.ttft.v) / 3;
    };
    const double whole = shared.plan.predictions.performance.ttft.v;
    const double known =
        setting_.plan_of(base_request(), kShared, 8).predictions.performance.ttft.v;
    line("\n| time to the first token of a later prompt | predicted | observed |");
    line("|---|---|---|");
    line("| everything computed | {:.0f} ms | {:.0f} ms |", 1e3 * whole,
         1e3 * later(apart.measurement));
    line("| 896 of 1000 tokens found | {:.0f} ms | {:.0f} ms |", 1e3 * (whole - known),
         1e3 * later(shared.measurement));
  }

  /// Requests of many lengths under a limit: slots taken and tokens in them.
  void waste() {
    constexpr std::int64_t kLimit = 2048;
    line("\n| layout, 200 requests of 1 to {} tokens | tokens kept | slots taken | wasted |",
         kLimit);
    line("|---|---|---|---|");
    for (const std::int64_t block :
         {std::int64_t{16}, std::int64_t{32}, std::int64_t{64}, kLimit}) {
      const auto tier = make_dry_tier(TierKind::kDevice, Bytes{std::int64_t{1} << 50});
      BlockPool pool(*tier, Blocks{200 * ceil_div(kLimit, block)}, Bytes{1024});
      std::vector<BlockTable> tables;
      SplitMix64 rng(11);
      std::int64_t tokens = 0;
      for (int i = 0; i < 200; ++i) {
        const std::int64_t length =
            1 + static_cast<std::int64_t>(rng.next() % static_cast<std::uint64_t>(kLimit));
        tables.emplace_back(pool, TokensPerBlock{block});
        tables.back().grow_to(Tokens{length});
        tokens += length;
      }
      pool.check_integrity();
      const std::int64_t slots = pool.held().n * block;
      line("| {} | {} | {} | {:.1f} % |",
           block == kLimit ? std::string("contiguous, reserved to the limit")
                           : fmt::format("blocks of {}", block),
           tokens, slots, 100 * (1 - static_cast<double>(tokens) / static_cast<double>(slots)));
    }
  }

  Setting setting_;
  std::string out_;
};

/// Puts `tables` between the markers of the file. Errors: kUsage when it has none.
void write_between_markers(const std::string& path, const std::string& tables) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::size_t begin = text.find(kBegin), end = text.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw Error(ErrorCode::kUsage, path + " has no place for the tables")
        .help(std::string("add the lines ") + kBegin + " and " + kEnd);
  }
  text.replace(begin, end - begin, std::string(kBegin) + "\n" + tables + "\n");
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace
}  // namespace vramplan

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::fprintf(stderr, "usage: techniques MODEL.gguf TEXT README.md [DEVICE]\n");
    return 2;
  }
  try {
    vramplan::Bench bench(argv[1], argv[2], argc > 4 ? argv[4] : "cpu-generic");
    vramplan::write_between_markers(argv[3], bench.run());
  } catch (const vramplan::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
