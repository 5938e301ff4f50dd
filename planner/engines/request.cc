// Part of twin.h: the request as a plan keeps it.
#include "planner/engines/twin.h"

namespace vramplan {

EngineDecision engine_decision(const EngineRequest& r) {
  EngineDecision d;
  d.engine = name_of(r.id.kind);
  if (!r.id.version.empty()) d.engine += "@" + r.id.version;
  d.memory_fraction = r.memory_fraction;
  d.max_model_len = r.max_model_len;
  d.max_num_batched_tokens = r.max_num_batched_tokens;
  d.kv_tokens = r.kv_tokens;
  d.max_num_seqs = r.max_num_seqs;
  d.kv_cache_memory = r.kv_cache_memory;
  d.dtype = r.dtype;
  d.kv_cache_dtype = r.kv_cache_dtype;
  d.quantization = r.quantization;
  d.quantized_parts = r.quantized_parts;
  d.tower = r.tower;
  d.flash_attention = r.flash_attention;
  d.beside = r.beside;
  d.transient = r.transient;
  d.tower_positions = r.tower_shape.positions;
  d.tower_heads = r.tower_shape.heads;
  d.expert_parallel = r.expert_parallel;
  d.attention_dp = r.attention_dp;
  d.context_parallel = r.context_parallel;
  d.eager = r.eager;
  d.speculation = r.speculation;
  return d;
}

EngineRequest engine_request(const EngineDecision& d) {
  EngineRequest r;
  r.id = parse_engine(d.engine);
  r.memory_fraction = d.memory_fraction;
  r.max_model_len = d.max_model_len;
  r.max_num_batched_tokens = d.max_num_batched_tokens;
  r.kv_tokens = d.kv_tokens;
  r.max_num_seqs = d.max_num_seqs;
  r.kv_cache_memory = d.kv_cache_memory;
  r.dtype = d.dtype;
  r.kv_cache_dtype = d.kv_cache_dtype;
  r.quantization = d.quantization;
  r.quantized_parts = d.quantized_parts;
  r.tower = d.tower;
  r.flash_attention = d.flash_attention;
  r.beside = d.beside;
  r.transient = d.transient;
  r.tower_shape = {d.tower_positions, d.tower_heads};
  r.expert_parallel = d.expert_parallel;
  r.attention_dp = d.attention_dp;
  r.context_parallel = d.context_parallel;
  r.eager = d.eager;
  r.speculation = d.speculation;
  return r;
}

}  // namespace vramplan
