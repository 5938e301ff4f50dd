#pragma once
// One token out of a row of logits; a block takes a row. Probabilities are integers of 40 bits, so
// sums do not depend on the order of atomics and a draw is the same on every run. No sorting: the
// place in the order (most probable first, then lower id) is found digit by digit of the logit's
// bits.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kSampleThreads = 512;
inline constexpr int kDigits = 256;

using Mass = unsigned long long;  // the type atomicAdd takes

/// Bits of a float in an order that unsigned integers keep; larger floats first when descending.
VRAMPLAN_DEVICE std::uint32_t ordered_bits(float x) {
  const std::uint32_t bits = dev::as_bits(x + 0.0F);  // -0 and 0 are one key
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// What a row's threads share.
struct SampleShared {
  Mass bins[kDigits];
  Mass before, total;  // mass in front of the chosen key; of the whole row
  std::uint32_t key;   // chosen so far, from the top digit down
  std::uint32_t best_key;
  std::uint32_t counts[kSampleThreads];
  std::int32_t best_id, chosen;
  int bad;
};

struct SampleRow {
  const float* logits;
  int vocab;
  float highest, temperature;
};

/// exp((logit - highest) / temperature) in units of 2^-40.
VRAMPLAN_DEVICE Mass mass_of(const SampleRow& row, float logit) {
  const float p = dev::exp((logit - row.highest) / row.temperature);
  return static_cast<Mass>(p * 0x1p40F);
}

/// The key of the token at which the running mass, most probable first, first exceeds `target`
/// (below the total), into shared.key, and the mass before that key into shared.before.
VRAMPLAN_DEVICE void select_key(SampleShared& s, const SampleRow& row, Mass target) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) s.key = 0, s.before = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int b = thread; b < kDigits; b += kSampleThreads) s.bins[b] = 0;
    __syncthreads();
    const std::uint32_t prefix = s.key;
    std::uint32_t digit_seen = 0;  // most logits share their top digit: one atomic a run of them
    Mass run = 0;
    for (int i = thread; i < row.vocab; i += kSampleThreads) {
      const std::uint32_t key = ordered_bits(row.logits[i]);
      if (shift < 24 && (key >> (shift + 8)) != (prefix >> (shift + 8))) continue;
      const std::uint32_t digit = (key >> shift) & 255U;
      if (digit != digit_seen && run != 0) atomicAdd(&s.bins[digit_seen], run), run = 0;
      digit_seen = digit;
      run += mass_of(row, row.logits[i]);
    }
    if (run != 0) atomicAdd(&s.bins[digit_seen], run);
    __syncthreads();
    if (thread == 0) {
      int digit = kDigits - 1;
      while (digit > 0 && s.before + s.bins[digit] <= target) s.before += s.bins[digit--];
      s.key = prefix | (static_cast<std::uint32_t>(digit) << shift);
    }
    __syncthreads();
  }
}

/// Ids of one key in ascending order: the (rank)-th (from 0) into shared.chosen; the last one when
/// there are fewer.
VRAMPLAN_DEVICE void select_equal(SampleShared& s, const SampleRow& row, std::uint32_t rank) {
  const int thread = static_cast<int>(threadIdx.x);
  const int each = (row.vocab + kSampleThreads - 1) / kSampleThreads;
  const int begin = thread * each, end = dev::least(begin + each, row.vocab);
  const std::uint32_t key = s.key;
  std::uint32_t mine = 0;
  for (int i = begin; i < end; ++i) mine += ordered_bits(row.logits[i]) == key ? 1U : 0U;
  s.counts[thread] = mine;
  __syncthreads();
  std::uint32_t before = 0;
  for (int t = 0; t < thread; ++t) before += s.counts[t];
  if (rank >= before && rank < before + mine) {
    for (int i = begin; i < end; ++i) {
      if (ordered_bits(row.logits[i]) == key && before++ == rank) s.chosen = i;
    }
  }
  __syncthreads();
}

/// shared.best_key and best_id: the first largest logit. shared.bad: a NaN or +infinity, or nothing
/// but -infinity.
VRAMPLAN_DEVICE void find_best(SampleShared& s, const float* logits, int vocab) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) s.best_key = 0, s.best_id = vocab, s.bad = 0, s.total = 0;
  __syncthreads();
  std::uint32_t best = 0;
  int bad = 0;
  for (int i = thread; i < vocab; i += kSampleThreads) {
    bad |= (dev::as_bits(logits[i]) & 0x7f800000U) == 0x7f800000U &&
                   dev::as_bits(logits[i]) != 0xff800000U
               ? 1
               : 0;
    best = dev::most(best, ordered_bits(logits[i]));
  }
  best = __reduce_max_sync(dev::kFullMask, best);
  if (dev::lane() == 0) atomicMax(&s.best_key, best);
  if (bad != 0) atomicOr(&s.bad, 1);
  __syncthreads();
  const std::uint32_t key = s.best_key;
  for (int i = thread; i < vocab; i += kSampleThreads) {
    if (ordered_bits(logits[i]) == key) {
      atomicMin(&s.best_id, i);
      break;  // later ones of this thread are larger
    }
  }
  if (thread == 0 && key <= ordered_bits(dev::minus_infinity())) s.bad = 1;
  __syncthreads();
}

/// The smallest most probable set whose mass reaches top_p: its mass, in every thread.
VRAMPLAN_DEVICE Mass nucleus_mass(SampleShared& s, const SampleRow& row, Mass total, float top_p) {
  const double wanted = static_cast<double>(top_p) * static_cast<double>(total);
  Mass need = static_cast<Mass>(wanted);
  if (static_cast<double>(need) < wanted) ++need;
  if (need < 1) need = 1;
  if (need > total) need = total;
  select_key(s, row, need - 1);
  const std::uint32_t key = s.key;
  const Mass before = s.before;
  // All tokens of one key have one mass.
  const float logit = dev::as_float((key >> 31) != 0 ? key & 0x7fffffffU : ~key);
  const Mass each = mass_of(row, logit);
  __syncthreads();  // s.key and s.before are written again by the next selection
  return before + ((need - 1 - before) / each + 1) * each;
}

VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(512)
    sample_kernel(std::int32_t* ids, const float* logits, int vocab, const float* uniform,
                  float temperature, float top_p) {
  VRAMPLAN_SHARED(SampleShared, shared, 1);
  SampleShared& s = *shared;
  const std::int64_t t = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  SampleRow row{logits + t * vocab, vocab, 0.0F, temperature};
  find_best(s, row.logits, vocab);
  if (s.bad != 0 || temperature == 0.0F) {
    if (thread == 0) ids[t] = s.bad != 0 ? -1 : s.best_id;
    return;  // the whole block
  }
  row.highest = row.logits[s.best_id];
  Mass mine = 0;
  for (int i = thread; i < vocab; i += kSampleThreads) mine += mass_of(row, row.logits[i]);
  atomicAdd(&s.total, mine);
  __syncthreads();
  Mass kept = s.total;
  if (top_p < 1.0F) kept = nucleus_mass(s, row, kept, top_p);
  Mass target = static_cast<Mass>(static_cast<double>(uniform[t]) * static_cast<double>(kept));
  if (target >= kept) target = kept - 1;
  select_key(s, row, target);
  const std::uint32_t key = s.key;
  const float logit = dev::as_float((key >> 31) != 0 ? key & 0x7fffffffU : ~key);
  const Mass rank = (target - s.before) / mass_of(row, logit);
  select_equal(s, row, static_cast<std::uint32_t>(rank));
  if (thread == 0) ids[t] = s.chosen;
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
