#pragma once
// Rng: the seam to randomness: one seed, one sequence, the same on every machine.
#include <cstdint>

namespace vramplan {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual std::uint64_t next() = 0;
  double uniform();  // [0, 1), 53 bits
};

/// SplitMix64 (Steele, Lea, Flood 2014): stateless start, passes BigCrush.
class SplitMix64 final : public Rng {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override;

 private:
  std::uint64_t state_;
};

}  // namespace vramplan
