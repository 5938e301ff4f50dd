#include "planner/op_work.h"

#include <algorithm>
#include <cmath>

#include "planner/decisions.h"

namespace vramplan {
namespace {

/// int8 rows of a cache end with an f32 scale.
double row_scale_bytes(DType kv) { return kv == DType::kI8 ? 4 : 0; }

double elements(std::int64_t rows, std::int64_t columns) {
  return static_cast<double>(rows) * static_cast<double>(columns);
}

OpWork elementwise(OpKind op, DType dtype, double element_count, double passes, double flops_each) {
  OpWork work;
  work.op = op;
  work.dtype = work.compute = dtype;
  work.bytes = element_count * passes * bytes_per_element(dtype);
  work.flops = element_count * flops_each;
  return work;
}

/// sum over j = 1..n of min(j, window), in closed form.
double triangle(double n, double window) {
  const double rising = std::min(n, window);
  return rising * (rising + 1) / 2 + (n - rising) * window;
}

/// Passes over a history and the residual window behind it, one by one: whole blocks leave the
/// window, so that no sum is closed.
OpWork history_work(const AttentionShape& shape, std::int64_t queries, std::int64_t kv_length,
                    std::int64_t repeat) {
  const double q = static_cast<double>(queries), heads = static_cast<double>(shape.heads);
  const double width = static_cast<double>(shape.head_dim + shape.value_dim);
  const double row_bytes = width * bytes_per_element(shape.kv) + 2 * row_scale_bytes(shape.kv);
  const double recent_bytes = width * bytes_per_element(DType::kF16);
  OpWork work;
  work.op = queries == 1 ? OpKind::kAttentionHistoryDecode : OpKind::kAttentionHistoryPrefill;
  work.dtype = shape.kv;
  work.compute = shape.activation;
  work.calls = repeat;
  for (std::int64_t pass = 0; pass < repeat; ++pass) {
    const Tokens cached{kv_length + pass * queries};
    const Tokens packed = packed_tokens(cached, Tokens{shape.residual_tokens});
    const double history = static_cast<double>(packed.n / shape.history_stride);
    const double recent = static_cast<double>((cached - packed).n);
    work.bytes +=
        static_cast<double>(shape.kv_heads) * (history * row_bytes + recent * recent_bytes) +
        q * heads * width * bytes_per_element(shape.activation);
    work.flops += 2 * heads * width * (q * history + q * (recent - q) + q * (q + 1) / 2);
  }
  return work;
}

}  // namespace

OpWork& OpWork::operator+=(const OpWork& other) {
  calls += other.calls;
  bytes += other.bytes;
  flops += other.flops;
  return *this;
}

const char* name_of(OpKind op) {
  static constexpr const char* kNames[] = {"embed",
                                           "norm",
                                           "linear",
                                           "linear_decode",
                                           "rope",
                                           "kv_write",
                                           "attention_prefill",
                                           "attention_decode",
                                           "attention_mass_prefill",
                                           "attention_mass_decode",
                                           "activation",
                                           "add",
                                           "gather",
                                           "all_reduce",
                                           "all_gather",
                                           "send",
                                           "sample",
                                           "linear_f32",
                                           "linear_f32_decode",
                                           "linear_fp8",
                                           "linear_fp8_decode",
                                           "attention_history_prefill",
                                           "attention_history_decode",
                                           "sample_beams",
                                           "between"};
  return kNames[static_cast<int>(op)];
}

std::int64_t gpu_kernels_of(OpKind op) {
  return op == OpKind::kLinearFp8 || op == OpKind::kLinearFp8Decode ? 2 : 1;
}

OpWork embed_work(std::int64_t tokens, std::int64_t hidden, DType table, DType activation) {
  OpWork work = elementwise(OpKind::kEmbed, activation, elements(tokens, hidden), 1, 1);
  work.dtype = table;
  work.bytes += elements(tokens, hidden) * bytes_per_element(table);
  return work;
}

OpWork norm_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  return elementwise(OpKind::kNorm, activation, elements(tokens, columns), 2, 4);
}

OpWork linear_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                   DType activation) {
  OpWork work;
  work.op = tokens <= kLinearDecodeTokens ? OpKind::kLinearDecode : OpKind::kLinear;
  work.dtype = weight;
  work.compute = activation;
  work.bytes = elements(out, in) * bytes_per_element(weight) +
               elements(tokens, in + out) * bytes_per_element(activation);
  work.flops = 2 * elements(tokens, in) * static_cast<double>(out);
  return work;
}

OpWork linear_f32_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                       DType activation) {
  OpWork work = linear_work(tokens, in, out, weight, activation);
  work.op = work.op == OpKind::kLinear ? OpKind::kLinearF32 : OpKind::kLinearF32Decode;
  return work;
}

bool takes_fp8_inputs(DType weight) {
  if (weight == DType::kF8E4M3) return true;
  const PackedRule* rule = packed_rule(weight);
  const bool fp8 =
      weight == DType::kFp8Tensor || weight == DType::kFp8Channel || weight == DType::kFp8Block;
  return fp8 && rule->group != PackedRule::kPerBlock;
}

OpWork linear_fp8_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                       DType activation) {
  OpWork work = linear_work(tokens, in, out, weight, activation);
  work.op = work.op == OpKind::kLinear ? OpKind::kLinearFp8 : OpKind::kLinearFp8Decode;
  work.compute = DType::kF8E4M3;
  work.bytes += 2 * elements(tokens, in);
  return work;
}

OpWork rope_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  return elementwise(OpKind::kRope, activation, elements(tokens, columns), 2, 3);
}

OpWork kv_write_work(std::int64_t tokens, std::int64_t kv_columns, std::int64_t kv_rows,
                     DType activation, DType kv) {
  OpWork work = elementwise(OpKind::kKvWrite, activation, elements(tokens, kv_columns), 1, 0);
  work.dtype = kv;
  work.bytes += elements(tokens, kv_columns) * bytes_per_element(kv) +
                elements(tokens, kv_rows) * row_scale_bytes(kv);
  return work;
}

OpWork kv_pack_work(double blocks, std::int64_t kv_columns, std::int64_t kv_rows, DType kv,
                    std::int64_t stride) {
  const double tokens = 32 * blocks, kept = tokens / static_cast<double>(stride);
  const double columns = static_cast<double>(kv_columns);
  OpWork work;
  work.op = OpKind::kKvWrite;
  work.dtype = work.compute = kv;
  work.bytes =
      tokens * columns * bytes_per_element(DType::kF16) +
      kept * (columns * bytes_per_element(kv) + static_cast<double>(kv_rows) * row_scale_bytes(kv));
  return work;
}

OpWork activation_work(std::int64_t tokens, std::int64_t columns, bool gated, DType activation) {
  return elementwise(OpKind::kActivation, activation, elements(tokens, columns), gated ? 3 : 2, 8);
}

OpWork add_norm_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  return elementwise(OpKind::kNorm, activation, elements(tokens, columns), 4, 5);
}

OpWork add_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  return elementwise(OpKind::kAdd, activation, elements(tokens, columns), 3, 1);
}

OpWork gather_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  return elementwise(OpKind::kGather, activation, elements(tokens, columns), 2, 0);
}

OpWork all_reduce_work(std::int64_t tokens, std::int64_t columns, DType activation, int ranks) {
  const double share = 2.0 * (ranks - 1) / ranks;
  OpWork work = elementwise(OpKind::kAllReduce, activation, elements(tokens, columns), share, 0);
  work.ranks = ranks;
  return work;
}

OpWork all_gather_work(std::int64_t tokens, std::int64_t columns, DType activation, int ranks) {
  OpWork work =
      elementwise(OpKind::kAllGather, activation, elements(tokens, columns), ranks - 1, 0);
  work.ranks = ranks;
  return work;
}

OpWork sample_work(std::int64_t rows, std::int64_t vocab) {
  return elementwise(OpKind::kSample, DType::kF32, elements(rows, vocab), 1, 0);
}

OpWork sample_beams_work(std::int64_t rows, std::int64_t vocab) {
  OpWork work = sample_work(rows, vocab);
  work.op = OpKind::kSampleBeams;
  return work;
}

bool is_of_ops(OpKind op) {
  switch (op) {
    case OpKind::kAllReduce:
    case OpKind::kAllGather:
    case OpKind::kSend:
    case OpKind::kSample:
    case OpKind::kSampleBeams:
    case OpKind::kBetween:
      return false;
    default:
      return true;
  }
}

OpWork between_work(const std::vector<OpWork>& works) {
  OpWork between;
  between.op = OpKind::kBetween;
  between.calls = 0;
  for (const OpWork& work : works) {
    if (is_of_ops(work.op)) between.calls += work.calls;
  }
  return between;
}

OpWork send_work(std::int64_t tokens, std::int64_t columns, DType activation) {
  OpWork work = elementwise(OpKind::kSend, activation, elements(tokens, columns), 1, 0);
  work.ranks = 2;
  return work;
}

OpWork attention_work(const AttentionShape& shape, std::int64_t queries, std::int64_t kv_length,
                      std::int64_t repeat) {
  if (shape.residual_tokens > 0) return history_work(shape, queries, kv_length, repeat);
  const double q = static_cast<double>(queries), times = static_cast<double>(repeat);
  const double first = static_cast<double>(kv_length), last = first + (times - 1) * q;
  const double window = shape.window_tokens > 0 ? static_cast<double>(shape.window_tokens) : last;
  // Pass i + 1 begins where pass i ends, so the pairs of all passes are one difference of
  // triangles.
  const double pairs = triangle(last, window) - triangle(first - q, window);
  // Tokens read: the cache while it is shorter than the window and the queries, that many
  // afterwards.
  const double most = window - 1 + q;
  const double growing = std::clamp(std::ceil((most - first) / q), 0.0, times);
  const double read_tokens =
      growing * first + q * growing * (growing - 1) / 2 + (times - growing) * most;
  const double heads = static_cast<double>(shape.heads),
               kv_heads = static_cast<double>(shape.kv_heads);
  const double width = static_cast<double>(shape.head_dim + shape.value_dim);

  OpWork work;
  work.op = queries == 1 ? OpKind::kAttentionDecode : OpKind::kAttentionPrefill;
  work.dtype = shape.kv;
  work.compute = shape.activation;
  work.calls = repeat;
  const double row_bytes = width * bytes_per_element(shape.kv) + 2 * row_scale_bytes(shape.kv);
  work.bytes = read_tokens * kv_heads * row_bytes +
               times * q * heads * width * bytes_per_element(shape.activation);
  work.flops = 2 * pairs * heads * width;
  const double all_tokens = times * (first + last) / 2;
  if (shape.mass) {
    work.op = queries == 1 ? OpKind::kAttentionMassDecode : OpKind::kAttentionMassPrefill;
    const double key_row = static_cast<double>(shape.head_dim) * bytes_per_element(shape.kv) +
                           row_scale_bytes(shape.kv);
    work.bytes += read_tokens * kv_heads * key_row;
    work.flops += 2 * pairs * heads * static_cast<double>(shape.head_dim);
  }
  if (shape.naive) work.bytes += 4 * 4 * heads * q * all_tokens;
  return work;
}

}  // namespace vramplan
