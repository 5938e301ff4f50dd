// How long a plan takes: everything make_plan does, on shipped cards. The goal is less than 5 ms a
// plan.
#include <benchmark/benchmark.h>

#include "modelcards/library.h"
#include "planner/plan.h"

namespace vramplan {
namespace {

void plan_once(benchmark::State& state, const char* model, const char* device,
               PlanRequest request) {
  ModelSource source;
  source.card = model_card(model);
  const DeviceCard card = device_card(device);
  for (auto _ : state) {
    Plan plan = make_plan(source, card, request);
    benchmark::DoNotOptimize(plan);
  }
}

PlanRequest ask(std::int64_t context, std::int64_t batch, int count) {
  PlanRequest request;
  request.context = Tokens{context};
  request.batch = batch;
  request.count = count;
  return request;
}

void small_on_cpu(benchmark::State& state) {
  plan_once(state, "smollm2-135m", "cpu-generic", ask(2048, 1, 1));
}
void fits_on_two(benchmark::State& state) {
  plan_once(state, "llama-3-70b", "h100-sxm-80gb", ask(32768, 1, 2));
}
void does_not_fit_on_two(benchmark::State& state) {
  plan_once(state, "llama-3-70b", "h100-sxm-80gb", ask(2048, 64, 2));
}
void sixty_four_ranks(benchmark::State& state) {
  plan_once(state, "llama-3-70b", "h100-sxm-80gb", ask(131072, 256, 64));
}
void write_and_read_the_file(benchmark::State& state) {
  ModelSource source;
  source.card = model_card("llama-3-70b");
  const Plan plan = make_plan(source, device_card("h100-sxm-80gb"), ask(32768, 1, 2));
  for (auto _ : state) benchmark::DoNotOptimize(read_plan(write_plan(plan), "plan.yaml"));
}

BENCHMARK(small_on_cpu)->Unit(benchmark::kMicrosecond);
BENCHMARK(fits_on_two)->Unit(benchmark::kMicrosecond);
BENCHMARK(does_not_fit_on_two)->Unit(benchmark::kMicrosecond);
BENCHMARK(sixty_four_ranks)->Unit(benchmark::kMicrosecond);
BENCHMARK(write_and_read_the_file)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vramplan

BENCHMARK_MAIN();
