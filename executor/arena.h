#pragma once
// Arena: tensors taken from one region, first fit, with the high-water mark of the live bytes. What
// "observed" means for weights, activations and workspace is what was taken here.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "executor/tier.h"
#include "kernels/tensor.h"

namespace vramplan {

class Arena {
 public:
  static constexpr std::int64_t kAlignment = 256;  // bytes, per tensor; counted as taken

  Arena(Tier& tier, Bytes size, std::string purpose);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A tensor of rows * columns elements at the lowest address where it fits. An empty tensor takes
  /// nothing and has no data. Errors: kOutOfPlan naming the tensor and the missing bytes.
  TensorView take(DType dtype, std::int64_t rows, std::int64_t columns, std::string_view name);
  /// Takes the place of `tensor` once more, where a replayed pass leaves it: it must be free.
  TensorView retake(const TensorView& tensor);
  /// Makes `tensor` empty. Giving back what was not taken stops the program.
  void give_back(TensorView& tensor);

  Bytes live() const { return live_; }  // each tensor rounded up to kAlignment
  Bytes high_water() const { return high_water_; }
  void reset_high_water() { high_water_ = live_; }
  Bytes padding() const { return live_ - exact_; }  // of the live bytes, what rounding added
  /// The end of the highest tensor there ever was: a region of this size runs the same takes.
  Bytes extent() const { return extent_; }
  Bytes size() const { return region_.size; }
  /// From the region's begin to the end of the highest tensor; not readable on dry.
  std::span<const std::byte> used() const {
    return {region_.data, static_cast<std::size_t>(extent_.n)};
  }
  /// Brings the memory of the whole region now, so that no operation is timed with its pages.
  void commit() { tier_.commit(region_.data, region_.size); }
  std::size_t tensor_count() const { return used_.size(); }
  /// Stops the program when tensors overlap, leave the region or do not add up to live().
  void check_integrity() const;

 private:
  struct Used {
    std::int64_t offset, size;  // size is aligned
    Bytes bytes;                // what the tensor asked for
  };
  std::int64_t offset_of(const void* data) const;
  [[noreturn]] void out_of_plan(Bytes needed, std::string_view name) const;

  Tier& tier_;
  std::string purpose_;
  Region region_;
  std::vector<Used> used_;  // by offset
  std::size_t packed_ = 0;  // so many leading tensors have no gap before them
  Bytes live_, exact_, high_water_, extent_;
};

}  // namespace vramplan
