// Attention of every path on this machine's GPU: TFLOP/s of prefill, and of decode its share of the
// bandwidth of a copy. Prints CSV. Exit 7 without a device.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/workspace.h"

namespace {

using namespace vramplan;

constexpr std::int64_t kBlockTokens = 16, kHeads = 32, kKvHeads = 8;
constexpr int kRounds = 20;
constexpr Bytes kPool{std::int64_t{2} << 30};

const char* name_of(cuda::AttentionPath path) {
  switch (path) {
    case cuda::AttentionPath::kSimt:
      return "simt";
    case cuda::AttentionPath::kTensorCore:
      return "mma";
    case cuda::AttentionPath::kWarpgroup:
      return "wgmma";
    default:
      return "default";
  }
}

class Bench {
 public:
  Bench(cuda::Runtime& runtime, const cuda::KernelTable& kernels)
      : runtime_(runtime), kernels_(kernels) {
    runtime_.use_device(0);
    stream_ = runtime_.make_stream();
    begin_ = runtime_.make_event();
    end_ = runtime_.make_event();
    pool_ = runtime_.allocate(kPool);
    q_ = runtime_.allocate(256_MiB);
    out_ = runtime_.allocate(256_MiB);
    scratch_ = runtime_.allocate(256_MiB);
    indices_ = runtime_.allocate(64_MiB);
    for (void* data : {pool_, q_}) {
      const std::int64_t size = data == pool_ ? kPool.n : (256_MiB).n;
      kernels_.fill_random(stream_, {data, DType::kBF16, size / 2 / 4096, 4096}, 7, 1.0F);
    }
  }

  /// Queries of one sequence that ends at `context`.
  void prefill(DType dtype, std::int64_t dim, std::int64_t queries, std::int64_t context,
               cuda::AttentionPath path) {
    const cuda::DeviceSlices slices = slices_of(1, queries, context, path);
    const KvLayerView kv = cache(dtype, dim);
    const AttentionParams params = params_of(dim);
    const double us = time([&] {
      kernels_.attention_prefill(stream_, view(out_, queries, kHeads * dim),
                                 view(q_, queries, kHeads * dim), kv, slices, params);
    });
    const auto before = static_cast<double>(context - queries), n = static_cast<double>(queries);
    const double flops =
        4.0 * static_cast<double>(kHeads * dim) * (n * before + n * (n + 1.0) / 2.0);
    std::printf("prefill,%s,%s,%ld,1,%ld,%ld,%.1f,%.1f,\n", name_of(path), info(dtype).name,
                static_cast<long>(dim), static_cast<long>(queries), static_cast<long>(context), us,
                flops / us * 1e-6);
  }

  /// One query of each of `batch` sequences.
  void decode(DType dtype, std::int64_t dim, std::int64_t batch, std::int64_t context,
              cuda::AttentionPath path, int multiprocessors) {
    const cuda::DeviceSlices slices = slices_of(batch, 1, context, path);
    const KvLayerView kv = cache(dtype, dim);
    const AttentionParams params = params_of(dim);
    const std::vector<SequenceSlice> all(static_cast<std::size_t>(batch),
                                         SequenceSlice{0, 1, context, nullptr});
    const Bytes room = cuda::attention_workspace(all, kv, params, slices.most_kv, multiprocessors);
    const TensorView workspace{scratch_, DType::kF32, 1, room.n / 4};
    const double us = time([&] {
      kernels_.attention_decode(stream_, view(out_, batch, kHeads * dim),
                                view(q_, batch, kHeads * dim), kv, slices, params, workspace);
    });
    const double bytes = static_cast<double>(batch * context * 2 * kKvHeads) *
                         static_cast<double>(kv_row_bytes(dtype, dim).n);
    std::printf("decode,%s,%s,%ld,%ld,1,%ld,%.1f,,%.3f\n", name_of(path), info(dtype).name,
                static_cast<long>(dim), static_cast<long>(batch), static_cast<long>(context), us,
                bytes / us * 1e6 / copy_bytes_per_s());
  }

  /// Bytes read and written by a copy on the device, a second.
  double copy_bytes_per_s() {
    if (copy_ > 0) return copy_;
    const Bytes half{kPool.n / 2};
    const double us = time([&] {
      runtime_.copy(stream_, pool_, static_cast<std::byte*>(pool_) + half.n, half,
                    cuda::CopyKind::kOnDevice);
    });
    copy_ = 2.0 * static_cast<double>(half.n) / us * 1e6;
    return copy_;
  }

 private:
  static TensorView view(void* data, std::int64_t rows, std::int64_t columns) {
    return {data, DType::kBF16, rows, columns};
  }
  static AttentionParams params_of(std::int64_t dim) {
    AttentionParams params;
    params.heads = kHeads;
    params.scale = dim == 64 ? 0.125F : 0.0883883F;
    return params;
  }

  KvLayerView cache(DType dtype, std::int64_t dim) const {
    KvLayerView kv;
    kv.base = static_cast<std::byte*>(pool_);
    kv.dtype = dtype;
    kv.block_tokens = kBlockTokens;
    kv.kv_heads = kKvHeads;
    kv.head_dim = kv.value_dim = dim;
    kv.value_offset = kKvHeads * kBlockTokens * kv_row_bytes(dtype, dim).n;
    kv.block_stride = 2 * kv.value_offset;
    kv.block_count = kPool.n / kv.block_stride;
    return kv;
  }

  /// Blocks one after another, wrapped where the pool ends.
  cuda::DeviceSlices slices_of(std::int64_t count, std::int64_t queries, std::int64_t context,
                               cuda::AttentionPath path) {
    const std::int64_t row = ceil_div(context, kBlockTokens);
    std::vector<std::int32_t> host;
    for (std::int64_t s = 0; s < count; ++s) {
      host.push_back(static_cast<std::int32_t>(s * queries));
    }
    host.insert(host.end(), static_cast<std::size_t>(count), static_cast<std::int32_t>(queries));
    host.insert(host.end(), static_cast<std::size_t>(count), static_cast<std::int32_t>(context));
    const std::int64_t blocks = cache(DType::kBF16, 128).block_count;
    for (std::int64_t b = 0; b < count * row; ++b) {
      host.push_back(static_cast<std::int32_t>(b * 7 % blocks));  // out of order
    }
    runtime_.copy(stream_, indices_, host.data(), Bytes{static_cast<std::int64_t>(4 * host.size())},
                  cuda::CopyKind::kToDevice);
    runtime_.synchronize(stream_);
    const auto* const at = static_cast<const std::int32_t*>(indices_);
    cuda::DeviceSlices slices;
    slices.count = count;
    slices.query_begin = at;
    slices.query_count = at + count;
    slices.kv_length = at + 2 * count;
    slices.block_tables = at + 3 * count;
    slices.blocks_per_row = row;
    slices.most_queries = queries;
    slices.most_kv = row * kBlockTokens;
    slices.path = path;
    return slices;
  }

  /// Median of kRounds, in microseconds, after three that do not count.
  template <class Work>
  double time(const Work& work) {
    std::vector<double> all;
    for (int i = 0; i < kRounds + 3; ++i) {
      runtime_.record(begin_, stream_);
      work();
      runtime_.record(end_, stream_);
      const double us = runtime_.elapsed(begin_, end_).v * 1e6;
      if (i >= 3) all.push_back(us);
    }
    std::nth_element(all.begin(), all.begin() + kRounds / 2, all.end());
    return all[kRounds / 2];
  }

  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  cuda::Stream stream_;
  cuda::Event begin_, end_;
  void *pool_ = nullptr, *q_ = nullptr, *out_ = nullptr, *scratch_ = nullptr, *indices_ = nullptr;
  double copy_ = 0;
};

void run(cuda::Runtime& runtime, const cuda::KernelTable& kernels) {
  Bench bench(runtime, kernels);
  const int multiprocessors = runtime.properties(0).multiprocessors;
  std::printf("what,path,cache,head_dim,batch,queries,context,us,tflops,share_of_copy\n");
  using Path = cuda::AttentionPath;
  for (const Path path : {Path::kSimt, Path::kTensorCore, Path::kWarpgroup}) {
    for (const std::int64_t dim : {64, 128}) {
      for (const std::int64_t queries : {512, 2048, 8192}) {
        if (path == Path::kSimt && queries > 2048) continue;  // seconds
        bench.prefill(DType::kBF16, dim, queries, queries, path);
      }
      bench.prefill(DType::kBF16, dim, 2048, 32768, path);
      if (path == Path::kWarpgroup) continue;
      for (const DType dtype : {DType::kBF16, DType::kF8E4M3}) {
        bench.decode(dtype, dim, 16, 8192, path, multiprocessors);
        bench.decode(dtype, dim, 1, 32768, path, multiprocessors);
      }
    }
  }
}

}  // namespace

int main() {
  try {
    const cuda::KernelTable* const kernels = cuda::device_kernels();
    if (kernels == nullptr) {
      std::fprintf(stderr, "this build has no CUDA kernels: configure with a CUDA toolkit\n");
      return 6;
    }
    const auto runtime = cuda::make_cuda_runtime();
    std::string why;
    if (runtime->device_count(why) == 0) {
      std::fprintf(stderr, "%s\n", why.c_str());
      return 7;
    }
    run(*runtime, *kernels);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.message().c_str());
    return 1;
  }
}
