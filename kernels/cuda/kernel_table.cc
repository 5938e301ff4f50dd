#include "kernels/cuda/kernel_table.h"

namespace vramplan::cuda {

#if VRAMPLAN_CUDA_KERNELS

const KernelTable* device_kernels() {
  static const KernelTable table{cuda::embed,
                                 cuda::add_rows,
                                 cuda::rmsnorm,
                                 cuda::layernorm,
                                 cuda::add_rmsnorm,
                                 cuda::linear,
                                 cuda::quantise_rows,
                                 cuda::linear_fp8,
                                 cuda::dequantise,
                                 cuda::add_bias,
                                 cuda::rope,
                                 cuda::kv_write,
                                 cuda::rope_kv_write,
                                 cuda::kv_pack,
                                 cuda::attention_decode,
                                 cuda::attention_decode_history,
                                 cuda::attention_prefill,
                                 cuda::attention_prefill_history,
                                 cuda::attention_mass,
                                 cuda::attention_naive,
                                 cuda::gated_activation,
                                 cuda::add,
                                 cuda::gather_rows,
                                 cuda::softcap,
                                 cuda::sample,
                                 cuda::fill_random};
  return &table;
}

#else

const KernelTable* device_kernels() { return nullptr; }

#endif

}  // namespace vramplan::cuda
