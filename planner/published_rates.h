#pragma once
// PublishedRates: what published tokens a second say that kernels timed alone do not: the share of
// its data sheet that a device without timed kernels reaches, host work of old releases that a
// step waits for, and what unpacking costs. Fitted to one half of those rows
// (bench/accuracy/throughput_fit.py), data in planner/engines/tables/rates.yaml.
#include <string>

#include "modelcards/device_card.h"
#include "planner/engines/engine_model.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

struct ServedRates {
  double memory = 1;          // share of the rate that borrowed kernels reach on their own device
  double step_s = 0;          // host work of a step that the device waits for
  double expert_layer_s = 0;  // the same of a layer whose experts have no fused kernel
  double unpack = 0;          // integer operations of an int4 weight
};
/// Rows that are not there change nothing. `release` as for release_factors.
ServedRates served_rates(EngineKind engine, const std::string& release, const std::string& device,
                         Quantization format);

/// llama.cpp, its kernels of before flash attention was the default; see planner/llamacpp_times.h.
struct LlamacppRates {
  double memory = 1;         // share of the data-sheet bandwidth in a step
  double prompt_memory = 1;  // and in a prompt, much of whose vectors stay in the chip's cache
  double compute = 1;        // share of the 16-bit peak
  double layer_s = 0;        // launches of a layer in a step; a prompt hides them
  double quantised_ops = 0;  // integer operations of a block-quantised weight, for one token
  double plain_ops = 0;      // f32 operations of a 16-bit weight, for one token
  double unpack_ops = 0;     // integer operations of a weight unpacked for a prompt
  double overlap_plain = 0, overlap_quantised = 0;  // of the gain that two ubatches can have
  double step_error = 0, prompt_error = 0;          // mean absolute share on rows held out
};
const LlamacppRates& llamacpp_rates();

/// Lanes of an NVIDIA multiprocessor for f32: 64, or 128 from GA102 and GH100 on, told apart by
/// the clock that the card's f32 peak implies: f32 / (multiprocessors x 2 x lanes).
/// RTX 4090: 8.26e13 / (128 x 2 x 128) = 2.52 GHz. 0 for a card that says too little.
int float_lanes(const DeviceCard& device);
/// 32-bit integer operations a second: multiprocessors x 64 lanes x clock; all of these
/// generations have 64. 0 for a card that says too little.
double integer_ops_per_s(const DeviceCard& device);

}  // namespace vramplan
