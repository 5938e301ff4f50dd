#pragma once
// Rig: one rank of an engine with a model of round numbers, so that a term of its account can be
// held against its formula alone.
#include "modelcards/device_card.h"
#include "planner/engines/twin.h"

namespace vramplan::test {

struct Rig {
  explicit Rig(EngineKind kind, const char* version = "") : table(engine_table({kind, version})) {
    decisions.capacity = 80_GiB;
    settings.memory_fraction = 0.9;
    settings.max_model_len = Tokens{65536};
    settings.max_num_batched_tokens = Tokens{8192};
    settings.max_num_seqs = 256;
    model.hidden = 4096;
    model.heads = 32;
    model.head_dim = 128;
    model.vocab = 128256;
    model.layers = 32;
    model.intermediate = 14336;
    model.weights = 16_GiB;
    model.kv = {{MixerKind::kFullAttention, 0, 32, BytesPerToken{4096}}};
  }
  TwinInput input() const { return {table, device, decisions, settings, model}; }

  EngineTable table;
  DeviceCard device;
  Decisions decisions;
  EngineSettings settings;
  EngineModel model;
};

}  // namespace vramplan::test
