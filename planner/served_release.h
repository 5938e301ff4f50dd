#pragma once
// ServedRelease: what runs of one release of an engine took beyond what its kernels alone say. The
// kernels of planner/kernel_cost.h were timed on newer releases than most published runs; two
// factors stand for the difference, fitted to the fit half of those runs
// (bench/accuracy/serving_fit.py) and 1 where no run of that release is published.
#include <string>

#include "planner/engines/engine_model.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

struct ReleaseFactors {
  double prompt = 1;      // on the kernels of a prompt, of that device and format
  double host = 1;        // on the host work of a pass with prompts, and before the first token
  bool measured = false;  // runs of this release on this device in this format are published
};

/// `release` as the runs name it: "0.19.0"; "unstated" for runs of autumn 2025 that name none. A
/// post release without runs of its own has the factors of the same release packed otherwise.
ReleaseFactors release_factors(EngineKind engine, const std::string& release,
                               const std::string& device, Quantization format);

}  // namespace vramplan
