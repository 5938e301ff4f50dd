#include "executor/memory_speed.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "executor/cost_fit.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Reads every whole 64 bytes once.
std::uint64_t sum_of(std::span<const std::byte> data) {
  constexpr std::size_t kLanes = 8, kWord = sizeof(std::uint64_t);
  std::uint64_t lanes[kLanes] = {};
  for (std::size_t at = 0; at + kLanes * kWord <= data.size(); at += kLanes * kWord) {
    for (std::size_t k = 0; k < kLanes; ++k) {
      std::uint64_t word = 0;
      std::memcpy(&word, data.data() + at + k * kWord, kWord);
      lanes[k] += word;
    }
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace

double reading_bytes_per_s(std::span<const std::byte> data, int threads, const Clock& clock,
                           int repetitions) {
  const auto parts = static_cast<std::size_t>(std::max(1, threads));
  std::atomic<std::uint64_t> total{0};  // keeps the reads from being left out
  std::vector<double> rates;
  for (int r = 0; r < repetitions && !data.empty(); ++r) {
    const double begin = clock.now().v;
    std::vector<std::thread> readers;
    for (std::size_t p = 0; p < parts; ++p) {
      const std::size_t from = data.size() * p / parts, to = data.size() * (p + 1) / parts;
      readers.emplace_back([&total, part = data.subspan(from, to - from)] {
        total.fetch_xor(sum_of(part), std::memory_order_relaxed);
      });
    }
    for (auto& reader : readers) reader.join();
    const double seconds = clock.now().v - begin;
    if (seconds > 0) rates.push_back(static_cast<double>(data.size()) / seconds);
  }
  return rates.empty() ? 0 : median_of(std::move(rates));
}

}  // namespace vramplan
