#pragma once
// Cards built by hand, so that the planner's tests stand on no card file.
#include <string>

#include "modelcards/device_card.h"
#include "modelcards/model_source.h"
#include "planner/plan.h"

namespace vramplan::test {

struct Dims {
  std::int64_t layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16;
  std::int64_t intermediate = 128, vocab = 100;
};

inline Layer llama_layer(const Dims& d) {
  Layer layer;
  layer.mixer.heads = d.heads;
  layer.mixer.kv_heads = d.kv_heads;
  layer.mixer.head_dim = layer.mixer.value_dim = d.head_dim;
  layer.mixer.rope.rotary_dim = d.head_dim;
  layer.feed_forward.intermediate = d.intermediate;
  return layer;
}

inline ModelCard llama(const std::string& name, const Dims& d) {
  ModelCard card;
  card.name = name;
  card.family = "llama";
  card.hidden = d.hidden;
  card.vocab = d.vocab;
  card.context_limit = 1 << 20;
  card.stored_weights = DType::kF16;
  card.layers.assign(static_cast<std::size_t>(d.layers), llama_layer(d));
  return card;
}

inline ModelCard llama_3_70b() {
  return llama("llama-3-70b", {80, 8192, 64, 8, 128, 28672, 128256});
}
inline ModelCard llama_2_7b() { return llama("llama-2-7b", {32, 4096, 32, 32, 128, 11008, 32000}); }
inline ModelCard tiny() { return llama("tiny", {}); }

/// Mixtral 8x7B: 8 experts of which a token sees 2.
inline ModelCard mixtral_8x7b() {
  ModelCard card = llama("mixtral-8x7b", {32, 4096, 32, 8, 128, 14336, 32000});
  for (Layer& layer : card.layers) {
    layer.feed_forward.kind = FeedForwardKind::kMoe;
    layer.feed_forward.experts = 8;
    layer.feed_forward.experts_per_token = 2;
  }
  return card;
}

/// GPT-2: learned positions, LayerNorm, biases, no gate, tied head.
inline ModelCard gpt2() {
  ModelCard card = llama("gpt2", {12, 768, 12, 12, 64, 3072, 50257});
  card.norm = NormKind::kLayer;
  card.position = PositionKind::kLearned;
  card.learned_positions = 1024;
  card.tied_head = true;
  for (Layer& layer : card.layers) {
    layer.mixer.qkv_bias = layer.mixer.output_bias = true;
    layer.mixer.rope.rotary_dim = 0;
    layer.feed_forward.gated = false;
    layer.feed_forward.bias = true;
  }
  return card;
}

template <class T>
Sourced<T> given(T value) {
  return {value, Evidence::kDatasheet, "test"};
}

/// A device of round numbers: nothing but the memory that tensors take.
inline DeviceCard bare_gpu(Bytes capacity) {
  DeviceCard card;
  card.name = "bare-gpu";
  card.kind = DeviceKind::kGpu;
  card.capacity_bytes = given<std::int64_t>(capacity.n);
  card.memory_bytes_per_s = given(3e12);
  card.memory_efficiency = given(1.0);
  card.compute_efficiency = given(1.0);
  card.flops_per_s["bf16"] = given(1e15);
  card.devices_per_node = given<std::int64_t>(8);
  card.links = {{LinkKind::kNvlink, given(4.5e11), given(3e-6)},
                {LinkKind::kNetwork, given(5e10), given(1e-5)},
                {LinkKind::kNvme, given(7e9), given(1e-4)}};
  return card;
}

/// A cautious 80 GB card: 79.2 GiB visible, context, modules, workspace and communicator taken off.
inline DeviceCard gpu_80gb() {
  DeviceCard card = bare_gpu(Bytes{85'029'027'840});
  card.name = "gpu-80gb";
  card.context_bytes = given<std::int64_t>(415'236'096);
  card.module_bytes = given<std::int64_t>(64 << 20);
  card.workspace_bytes = given<std::int64_t>(32 << 20);
  card.comm_bytes = given<std::int64_t>(392'000'000);
  card.graph_node_bytes = given<std::int64_t>(10 * 1024);
  card.process_base_bytes = given<std::int64_t>(64 << 20);
  card.launch_s = given(2e-6);
  return card;
}

inline DeviceCard cpu(Bytes capacity) {
  DeviceCard card;
  card.name = "cpu";
  card.kind = DeviceKind::kCpu;
  card.capacity_bytes = given<std::int64_t>(capacity.n);
  card.memory_bytes_per_s = given(2e10);
  card.flops_per_s["f32"] = given(1e11);
  card.multiprocessors = given<std::int64_t>(4);
  card.process_base_bytes = given<std::int64_t>(12 << 20);
  card.launch_s = given(2e-6);
  card.devices_per_node = given<std::int64_t>(1);
  return card;
}

inline ModelSource source_of(ModelCard card) {
  ModelSource source;
  source.card = std::move(card);
  return source;
}

inline PlanRequest ask(std::int64_t context, std::int64_t batch, int count = 1) {
  PlanRequest request;
  request.model = "test";
  request.context = Tokens{context};
  request.batch = batch;
  request.count = count;
  return request;
}

inline Plan plan_of(const ModelCard& card, const DeviceCard& device, const PlanRequest& request) {
  return make_plan(source_of(card), device, request);
}

inline Decisions decisions_of(int tp = 1, int pp = 1) {
  Decisions d;
  d.sharding = {tp, pp, 1, 1};
  d.device_count = tp * pp;
  d.context = Tokens{64};
  d.output = Tokens{16};
  d.prefill_chunk = Tokens{32};
  d.kv_blocks = Blocks{4};
  d.capacity = 1_GiB;
  return d;
}

template <class Call>
ErrorCode code_of(Call call, std::string* text = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (text) *text = error.what();
    return error.code();
  }
  return ErrorCode::kInternal;  // no error at all: no test expects this one
}

}  // namespace vramplan::test
