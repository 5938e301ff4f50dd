// How long a search takes: one strategy in closed form, and a default search over all GPU cards up
// to 64 devices. The goals are a million strategies a second on a core, and 200 ms.
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

void one_strategy(benchmark::State& state) {
  ModelSource source;
  source.card = model_card("llama-3.1-70b");
  const StrategySpace space(source, all_gpus());
  const std::vector<Strategy> all = space.strategies();
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(space.evaluate(all[at]));
    at = at + 1 == all.size() ? 0 : at + 1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(one_strategy);

void default_search(benchmark::State& state, const char* model) {
  ModelSource source;
  source.card = model_card(model);
  const SearchRequest request = all_gpus();
  std::int64_t evaluated = 0;
  for (auto _ : state) {
    const SearchResult result = search(source, request);
    evaluated = result.evaluated;
    benchmark::DoNotOptimize(result);
  }
  state.counters["strategies"] = static_cast<double>(evaluated);
}
BENCHMARK_CAPTURE(default_search, llama_3_1_70b, "llama-3.1-70b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(default_search, gemma_3_27b, "gemma-3-27b")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vramplan

BENCHMARK_MAIN();
