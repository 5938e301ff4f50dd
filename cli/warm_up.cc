#include "cli/warm_up.h"

#include "executor/engine.h"
#include "executor/process_memory.h"
#include "executor/replica_group.h"
#include "modelcards/library.h"
#include "planner/plan.h"

namespace vramplan::cli {
namespace {

/// Every operation of a decoder with rotary positions; some 200 kB of weights.
constexpr const char* kTinyModel = R"(name: warm-up
title: A tiny decoder
family: llama
source: written for this file
evidence: assumed
hidden: 64
vocab: 512
context_limit: 64
stored_weights: q8_0
layers:
  - count: 2
    mixer: {heads: 2, kv_heads: 1, head_dim: 32, rope: {theta: 10000}}
    feed_forward: {intermediate: 128}
)";

}  // namespace

namespace {

void run_tiny_model(int threads) {
  ModelSource source;
  source.card = parse_model_card(kTinyModel, "warm-up");
  const DeviceCard device = device_card("cpu-generic");
  PlanRequest request;
  request.model = source.card.name;
  request.device = device.name;
  request.context = Tokens{48};
  request.output = Tokens{8};
  request.batch = 2;
  request.threads = threads;
  const Plan plan = make_plan(source, device, request);
  RunRequest run;
  run.random_weights = true;
  run_plan(plan.decisions, source, device, "cpu", run);
}

}  // namespace

Bytes resident_after_warm_up(int threads) {
  run_tiny_model(threads);
  return this_process_memory().now().resident;
}

Bytes own_bytes_of_replica(int threads) {
  const auto work = [threads](int, const std::function<void()>& meet) {
    run_tiny_model(threads);
    meet();
    return std::string();
  };
  ReplicaGroup group(1, work, nullptr);
  group.gather();
  const Bytes own = memory_of_process(group.pid(0)).own;
  group.let_go();
  group.results();
  return own;
}

}  // namespace vramplan::cli
