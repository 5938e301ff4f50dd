#include "executor/calibrate_gpu_ops.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/workspace.h"
#include "kernels/packed_parts.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostTokens = 8192, kMostSequences = 256, kMostContext = 131072;
constexpr int kSlots = 8;  // tensors of a call: each a sixteenth of the pool

/// The longest pass and caches a point may have.
Decisions bench_decisions(std::int64_t divisor) {
  Decisions d;
  d.block = TokensPerBlock{GpuBench::kBlockTokens};
  d.batch = kMostSequences;
  d.context = Tokens{kMostContext / divisor};
  d.output = Tokens{1};
  d.prefill_chunk = Tokens{kMostTokens};
  return d;
}

Rope plain_rope() {
  Rope rope;
  rope.rotary_dim = 128;
  return rope;
}

}  // namespace

GpuBench::GpuBench(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
                   const cuda::DeviceProperties& device, const GpuBenchOptions& options)
    : runtime_(runtime),
      kernels_(kernels),
      options_(options),
      multiprocessors_(device.multiprocessors),
      compute_capability_(10 * device.major + device.minor),
      tier_(runtime, options.pool * 2 + Bytes{std::int64_t{1} << 30}) {
  runtime_.make_gemm();
  const GpuFacts facts{device.multiprocessors, cuda::gemm_workspace_bytes(device.major)};
  const GpuRegions regions{facts.gemm_workspace, Bytes{std::int64_t{256} << 20}, Bytes{1 << 20}};
  try {
    stream_ = runtime_.make_stream();
    begin_ = runtime_.make_event();
    end_ = runtime_.make_event();
    tier_.reserve_all(regions.total() + options.pool);
    workspace_ = std::make_unique<GpuWorkspace>(tier_, facts, bench_decisions(options.divisor),
                                                std::vector<KvKeep>(1), regions);
    arena_ = std::make_unique<Arena>(tier_, options.pool, "the pool of timings");
    pool_ = arena_->take(DType::kI8, 1, options.pool.n, "pool");
    // 0x20 in every byte is a small, normal, finite number in every format we know.
    runtime_.fill(stream_, pool_.data, 0x20, options.pool);
    rope_table_ = std::make_unique<RopeTable>(plain_rope(), 128);
    const TensorView table = workspace_->add_rope_table(*rope_table_);
    runtime_.copy(stream_, table.data, rope_table_->inverse_frequency().data(), table.bytes(),
                  cuda::CopyKind::kToDevice);
    const IndexArrays& a = workspace_->arrays();
    shadow_.resize(static_cast<std::size_t>(workspace_->arrays_bytes().n));
    // Blocks in order for every row, so that a table of any width below is right for its length.
    const std::int64_t width = workspace_->shape().groups.front().blocks_per_slice;
    auto* const tables = reinterpret_cast<std::int32_t*>(
        shadow_.data() + (static_cast<std::byte*>(a.groups.front().block_tables.data) -
                          static_cast<std::byte*>(a.ids.data)));
    for (std::int64_t i = 0; i < width * kMostSequences; ++i) {
      tables[i] = static_cast<std::int32_t>(i);
    }
    ops_ = std::make_unique<CudaOps>(runtime_, kernels_, stream_, multiprocessors_, kActivations);
    ops_->bind(workspace_.get());
    ops_->begin(
        {shadow_.data(), static_cast<std::byte*>(a.ids.data), workspace_->arrays_bytes(), {}});
    runtime_.copy(stream_, a.ids.data, shadow_.data(), workspace_->arrays_bytes(),
                  cuda::CopyKind::kToDevice);
    runtime_.synchronize(stream_);
  } catch (...) {
    if (pool_.data != nullptr) arena_->give_back(pool_);
    runtime_.destroy(begin_);
    runtime_.destroy(end_);
    runtime_.destroy(stream_);
    throw;
  }
}

GpuBench::~GpuBench() {
  arena_->give_back(pool_);
  runtime_.destroy(begin_);
  runtime_.destroy(end_);
  runtime_.destroy(stream_);
}

std::int64_t GpuBench::scaled(std::int64_t n, std::int64_t granule) const {
  if (options_.divisor == 1) return n;
  return std::max<std::int64_t>(1, n / options_.divisor / granule) * granule;
}

std::byte* GpuBench::stretch(Bytes bytes, std::int64_t call) const {
  const Bytes size = round_up(bytes, Bytes{256});
  const std::int64_t half = options_.pool.n / 2;
  VRAMPLAN_CHECK(size.n <= half);
  return static_cast<std::byte*>(pool_.data) + half + call % (half / size.n) * size.n;
}

TensorView GpuBench::tensor(int slot, DType dtype, std::int64_t rows, std::int64_t columns) const {
  const std::int64_t size = options_.pool.n / 2 / kSlots / 256 * 256;
  const TensorView view{static_cast<std::byte*>(pool_.data) + slot * size, dtype, rows, columns};
  VRAMPLAN_CHECK(view.bytes().n <= size);
  return view;
}

double GpuBench::time(const std::function<void(std::int64_t)>& call) {
  call(0);  // loads the kernel and chooses an algorithm
  runtime_.record(begin_, stream_);
  call(1);
  runtime_.record(end_, stream_);
  const double once = runtime_.elapsed(begin_, end_).v;
  const double wanted = once > 0 ? options_.point_seconds / once : 1;
  const auto calls =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted), 2, options_.most_calls);
  runtime_.begin_capture(stream_);
  cuda::Graph graph;
  try {
    for (std::int64_t i = 0; i < calls; ++i) call(i);
  } catch (...) {
    runtime_.abandon_capture(stream_);
    throw;
  }
  graph = runtime_.end_capture(stream_);
  double least = 0;
  try {
    for (int repetition = 0; repetition < 4; ++repetition) {
      runtime_.record(begin_, stream_);
      runtime_.launch(graph, stream_);
      runtime_.record(end_, stream_);
      const double seconds = runtime_.elapsed(begin_, end_).v / static_cast<double>(calls);
      // The first launch brings the graph to the device.
      if (repetition > 0 && (least == 0 || seconds < least)) least = seconds;
    }
  } catch (...) {
    runtime_.destroy(graph);
    throw;
  }
  runtime_.destroy(graph);
  return least;
}

double GpuBench::copy_bytes_per_s() {
  const Bytes half{options_.pool.n / 2};
  auto* const data = static_cast<std::byte*>(pool_.data);
  const double seconds = time([&](std::int64_t) {
    runtime_.copy(stream_, data + half.n, data, half, cuda::CopyKind::kOnDevice);
  });
  return seconds > 0 ? 2 * static_cast<double>(half.n) / seconds : 0;
}

double GpuBench::read_bytes_per_s() {
  const std::int64_t in = scaled(8192, 64);
  const std::int64_t rows = std::min<std::int64_t>(options_.pool.n / 4 / (2 * in), 131072);
  const GpuPoint point = linear(DType::kBF16, 1, in, rows, kActivations);
  return point.bytes_per_s();
}

double GpuBench::bus_bytes_per_s(bool to_device) {
  const Bytes size{std::min<std::int64_t>(std::int64_t{64} << 20, options_.pool.n / 4)};
  CudaHostTier host(runtime_);
  Region pinned = host.reserve(size, "pinned memory of a timing");
  double seconds = 0;
  try {
    seconds = time([&](std::int64_t call) {
      std::byte* const device = stretch(size, call);
      if (to_device)
        runtime_.copy(stream_, device, pinned.data, size, cuda::CopyKind::kToDevice);
      else
        runtime_.copy(stream_, pinned.data, device, size, cuda::CopyKind::kToHost);
    });
  } catch (...) {
    host.release(pinned);
    throw;
  }
  host.release(pinned);
  return seconds > 0 ? static_cast<double>(size.n) / seconds : 0;
}

double GpuBench::launch_seconds() {
  return time([&](std::int64_t) { small_kernel(); });
}

void GpuBench::small_kernel() {
  kernels_.add(stream_, tensor(0, kActivations, 1, 64), tensor(1, kActivations, 1, 64));
}

Bytes GpuBench::load_small_kernel(const std::function<Bytes()>& growth) {
  small_kernel();
  runtime_.synchronize(stream_);
  return growth();
}

Bytes GpuBench::graph_bytes(std::int64_t nodes, const std::function<Bytes()>& growth) {
  runtime_.begin_capture(stream_);
  try {
    for (std::int64_t i = 0; i < nodes; ++i) small_kernel();
  } catch (...) {
    runtime_.abandon_capture(stream_);
    throw;
  }
  const cuda::Graph graph = runtime_.end_capture(stream_);
  Bytes taken;
  try {
    runtime_.launch(graph, stream_);  // the first launch brings the graph to the device
    runtime_.synchronize(stream_);
    taken = growth();
  } catch (...) {
    runtime_.destroy(graph);
    throw;
  }
  runtime_.destroy(graph);
  return taken;
}

std::string gpu_shape_text(std::int64_t a, std::int64_t b) {
  return std::to_string(a) + " x " + std::to_string(b);
}

bool GpuBench::multiplies_fp8() const { return compute_capability_ >= 89; }

/// GPTQ's groups are indices and must be some; all else is small numbers already.
void GpuBench::make_weights(DType weight, std::int64_t in, std::int64_t out) {
  if (packed_kind(weight) != PackedKind::kGptq) return;
  const PackedParts parts = packed_parts(weight, out, in);
  std::vector<std::int32_t> groups(static_cast<std::size_t>(in));
  for (std::int64_t c = 0; c < in; ++c) {
    groups[static_cast<std::size_t>(c)] = static_cast<std::int32_t>(c / parts.group);
  }
  const Bytes bytes = bytes_of(weight, out, in);
  const std::int64_t count = options_.pool.n / 2 / round_up(bytes, Bytes{256}).n;
  for (std::int64_t i = 0; i < count; ++i) {
    runtime_.copy(stream_, stretch(bytes, i) + parts.groups, groups.data(), Bytes{4} * in,
                  cuda::CopyKind::kToDevice);
  }
  runtime_.synchronize(stream_);
}

GpuPoint GpuBench::linear_fp8(DType weight, std::int64_t tokens, std::int64_t in,
                              std::int64_t out) {
  CudaOps ops(runtime_, kernels_, stream_, multiprocessors_, kActivations);
  ops.bind(workspace_.get());
  ops.use_fp8_inputs(multiplies_fp8());
  const TensorView x = tensor(0, kActivations, tokens, in);
  const TensorView y = tensor(1, kActivations, tokens, out);
  const TensorView workspace = tensor(2, DType::kI8, 1, ops.linear_workspace(tokens, in, weight).n);
  const Bytes bytes = bytes_of(weight, out, in);
  GpuPoint point{linear_fp8_work(tokens, in, out, weight, kActivations),
                 gpu_shape_text(tokens, in) + " x " + std::to_string(out), 0};
  point.seconds = time([&](std::int64_t call) {
    ops.linear(y, x, {{stretch(bytes, call), weight, out, in}, 0}, {}, workspace);
  });
  return point;
}

GpuPoint GpuBench::linear(DType weight, std::int64_t tokens, std::int64_t in, std::int64_t out,
                          DType activations) {
  make_weights(weight, in, out);
  const TensorView x = tensor(0, activations, tokens, in);
  const TensorView y = tensor(1, activations, tokens, out);
  const Bytes scratch = cuda::linear_workspace(tokens, in, weight, activations);
  const TensorView workspace = tensor(2, DType::kI8, 1, scratch.n);
  const Bytes bytes = bytes_of(weight, out, in);
  GpuPoint point{linear_work(tokens, in, out, weight, activations),
                 gpu_shape_text(tokens, in) + " x " + std::to_string(out), 0};
  point.seconds = time([&](std::int64_t call) {
    ops_->linear(y, x, {{stretch(bytes, call), weight, out, in}, 0}, {}, workspace);
  });
  return point;
}

GpuPoint GpuBench::norm(std::int64_t tokens, std::int64_t columns) {
  const TensorView out = tensor(0, kActivations, tokens, columns);
  const TensorView weight = tensor(1, DType::kF32, 1, columns);
  GpuPoint point{norm_work(tokens, columns, kActivations), gpu_shape_text(tokens, columns), 0};
  point.seconds = time([&](std::int64_t call) {
    const TensorView x{stretch(out.bytes(), call), kActivations, tokens, columns};
    kernels_.rmsnorm(stream_, out, x, weight, 1e-5F, false);
  });
  return point;
}

GpuPoint GpuBench::rope(std::int64_t tokens, AttentionHeads heads) {
  const std::int64_t columns = heads.heads * 128;
  const Bytes bytes = bytes_of(kActivations, tokens, columns);
  const float* const table = workspace_->rope_table(rope_table_->inverse_frequency().data());
  const auto* const positions =
      static_cast<const std::int32_t*>(workspace_->arrays().positions.data);
  GpuPoint point{rope_work(tokens, columns, kActivations), gpu_shape_text(tokens, columns), 0};
  point.seconds = time([&](std::int64_t call) {
    kernels_.rope(stream_, {stretch(bytes, call), kActivations, tokens, columns}, positions,
                  {128, 128, false, table, 1.0F});
  });
  return point;
}

GpuPoint GpuBench::activation(std::int64_t tokens, std::int64_t columns) {
  const TensorView up = tensor(0, kActivations, tokens, columns);
  GpuPoint point{activation_work(tokens, columns, true, kActivations),
                 gpu_shape_text(tokens, columns), 0};
  point.seconds = time([&](std::int64_t call) {
    kernels_.gated_activation(stream_, {stretch(up.bytes(), call), kActivations, tokens, columns},
                              up, GateKind::kSilu);
  });
  return point;
}

GpuPoint GpuBench::add(std::int64_t tokens, std::int64_t columns) {
  const TensorView y = tensor(0, kActivations, tokens, columns);
  GpuPoint point{add_work(tokens, columns, kActivations), gpu_shape_text(tokens, columns), 0};
  point.seconds = time([&](std::int64_t call) {
    kernels_.add(stream_, {stretch(y.bytes(), call), kActivations, tokens, columns}, y);
  });
  return point;
}

GpuPoint GpuBench::embed(DType table, std::int64_t tokens, std::int64_t columns) {
  const TensorView out = tensor(0, kActivations, tokens, columns);
  const Bytes bytes = bytes_of(table, kMostTokens, columns);
  const auto* const ids = static_cast<const std::int32_t*>(workspace_->arrays().ids.data);
  GpuPoint point{embed_work(tokens, columns, table, kActivations), gpu_shape_text(tokens, columns),
                 0};
  point.seconds = time([&](std::int64_t call) {
    kernels_.embed(stream_, out, {stretch(bytes, call), table, kMostTokens, columns}, ids, 1.0F);
  });
  return point;
}

}  // namespace vramplan
