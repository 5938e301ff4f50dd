#include "tests/fibers/fiber_kernels.h"

#include <utility>

#include "tests/fake_cuda/fake_runtime.h"
#include "tests/simt/simt.h"

namespace vramplan::cuda {

const KernelTable& fiber_kernels() {
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
  simt::set_enqueue([](void* stream, std::function<void()> work) {
    FakeRuntime::enqueue({stream}, std::move(work));
  });
  return table;
}

}  // namespace vramplan::cuda
