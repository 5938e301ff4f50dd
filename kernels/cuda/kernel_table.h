#pragma once
// KernelTable: the entry points of kernels.h as data, so that host code is built and tested without
// nvcc: the device's kernels, the same sources on the CPU's fibers, or plain loops of a test.
#include "kernels/cuda/kernels.h"

namespace vramplan::cuda {

struct KernelTable {
  decltype(&cuda::embed) embed = nullptr;
  decltype(&cuda::add_rows) add_rows = nullptr;
  decltype(&cuda::rmsnorm) rmsnorm = nullptr;
  decltype(&cuda::layernorm) layernorm = nullptr;
  decltype(&cuda::add_rmsnorm) add_rmsnorm = nullptr;
  decltype(&cuda::linear) linear = nullptr;
  decltype(&cuda::quantise_rows) quantise_rows = nullptr;
  decltype(&cuda::linear_fp8) linear_fp8 = nullptr;
  decltype(&cuda::dequantise) dequantise = nullptr;
  decltype(&cuda::add_bias) add_bias = nullptr;
  decltype(&cuda::rope) rope = nullptr;
  decltype(&cuda::kv_write) kv_write = nullptr;
  decltype(&cuda::rope_kv_write) rope_kv_write = nullptr;
  decltype(&cuda::kv_pack) kv_pack = nullptr;
  decltype(&cuda::attention_decode) attention_decode = nullptr;
  decltype(&cuda::attention_decode_history) attention_decode_history = nullptr;
  decltype(&cuda::attention_prefill) attention_prefill = nullptr;
  decltype(&cuda::attention_prefill_history) attention_prefill_history = nullptr;
  decltype(&cuda::attention_mass) attention_mass = nullptr;
  decltype(&cuda::attention_naive) attention_naive = nullptr;
  decltype(&cuda::gated_activation) gated_activation = nullptr;
  decltype(&cuda::add) add = nullptr;
  decltype(&cuda::gather_rows) gather_rows = nullptr;
  decltype(&cuda::softcap) softcap = nullptr;
  decltype(&cuda::sample) sample = nullptr;
  decltype(&cuda::fill_random) fill_random = nullptr;
};

/// The kernels nvcc built for a device; null when this build has none.
const KernelTable* device_kernels();

}  // namespace vramplan::cuda
