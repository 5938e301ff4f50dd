#pragma once
// Arena: tensors taken from one region, first fit, with the high-water mark of the live bytes. What
// "observed" means for weights, activations and workspace is what was taken here.
#include <map>
#include <string>

#include "executor/tier.h"
#include "kernels/tensor.h"

namespace vramplan {

class Arena {
 public:
  static constexpr std::int64_t kAlignment = 256;   // bytes, per tensor; counted as taken

  Arena(Tier& tier, Bytes size, std::string purpose);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Errors: kOutOfPlan naming the tensor and the missing bytes.
  TensorView take(DType dtype, std::int64_t rows, std::int64_t columns, const std::string& name);
  void give_back(TensorView& tensor);

  Bytes live() const { return live_; }
  Bytes high_water() const { return high_water_; }
  void reset_high_water() { high_water_ = live_; }
  Bytes size() const { return region_.size; }

 private:
  Tier& tier_;
  std::string purpose_;
  Region region_;
  std::map<std::int64_t, std::int64_t> used_;   // offset -> aligned size
  std::map<const void*, std::int64_t> offset_of_;
  Bytes live_, high_water_;
};

}  // namespace vramplan
