#pragma once
// Random weights: values that keep a transformer's activations finite, in every format a kernel
// reads.
#include <cstdint>
#include <string>

#include "executor/rank_weights.h"

namespace vramplan {

/// Fills a tensor. Matrices: zero mean, standard deviation 1 / sqrt(columns), so that a product
/// keeps the size of its input; norms: 1 (0 when stored as w - 1) and biases: 0, both +- 0.1. A
/// block of a quantised format has random codes and scales and fixed finite factors of the same
/// deviation. A function of (seed, name, shape, format) only. Errors: kUnsupported for int8 and
/// i32, which have no scale of their own here.
void fill_random(const TensorView& tensor, const std::string& name, TensorRole role,
                 bool norm_one_plus, std::uint64_t seed);

}  // namespace vramplan
