// How fast a search is, counted honestly. `default_search` is the whole of it: from a card to the
// best strategies, over all GPU cards up to 64 devices; `evaluated_per_second` are strategies whose
// bytes and seconds were worked out in that time, preparation included, none left out by a bound.
// `prepare` is what of it is spent before the first strategy is asked about: the accounts of every
// sharding, format, batch and device, that strategies share. `look_up` asks about one strategy
// then, which reads tables and adds a few products: a rate of look-ups, not of evaluations.
// `from_scratch` is the same answer by make_plan, which shares nothing.
#include <benchmark/benchmark.h>

#include "modelcards/library.h"
#include "planner/search.h"

namespace vramplan {
namespace {

SearchRequest all_gpus() {
  SearchRequest request;
  request.plan.context = Tokens{8192};
  for (const std::string& name : device_card_names()) {
    DeviceCard card = device_card(name);
    if (card.kind == DeviceKind::kGpu) request.devices.push_back(std::move(card));
  }
  return request;
}

ModelSource source_of(const char* model) {
  ModelSource source;
  source.card = model_card(model);
  return source;
}

void default_search(benchmark::State& state, const char* model) {
  const ModelSource source = source_of(model);
  const SearchRequest request = all_gpus();
  std::int64_t evaluated = 0;
  for (auto _ : state) {
    const SearchResult result = search(source, request);
    evaluated = result.evaluated;
    benchmark::DoNotOptimize(result);
  }
  const auto strategies = static_cast<double>(evaluated);
  state.counters["strategies"] = strategies;
  state.counters["evaluated_per_second"] =
      benchmark::Counter(strategies, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(default_search, llama_3_1_70b, "llama-3.1-70b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(default_search, gemma_3_27b, "gemma-3-27b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(default_search, qwen3_235b, "qwen3-235b-a22b")->Unit(benchmark::kMillisecond);

void prepare(benchmark::State& state, const char* model) {
  const ModelSource source = source_of(model);
  const SearchRequest request = all_gpus();
  for (auto _ : state) benchmark::DoNotOptimize(StrategySpace(source, request));
}
BENCHMARK_CAPTURE(prepare, llama_3_1_70b, "llama-3.1-70b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(prepare, gemma_3_27b, "gemma-3-27b")->Unit(benchmark::kMillisecond);

void look_up(benchmark::State& state) {
  const StrategySpace space(source_of("llama-3.1-70b"), all_gpus());
  const std::vector<Strategy> all = space.strategies();
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(space.evaluate(all[at]));
    at = at + 1 == all.size() ? 0 : at + 1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(look_up);

void from_scratch(benchmark::State& state) {
  const ModelSource source = source_of("llama-3.1-70b");
  const SearchRequest request = all_gpus();
  const StrategySpace space(source, request);
  const std::vector<Strategy> all = space.strategies();
  std::size_t at = 0;
  for (auto _ : state) {
    const Strategy& s = all[at];
    benchmark::DoNotOptimize(make_plan(source, request.devices[s.device], space.plan_request(s)));
    at = (at + 997) % all.size();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(from_scratch)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vramplan

BENCHMARK_MAIN();
