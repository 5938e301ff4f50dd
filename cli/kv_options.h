#pragma once
// KvOptions: the flags of PlanOptions that are about the KV cache.
#include "cli/plan_options.h"

namespace vramplan::cli {

// Groups of flags in the help.
inline constexpr const char* kWork = "Workload";
inline constexpr const char* kFormats = "Formats and algorithms";

void add_kv_flags(CLI::App& command, PlanOptions& options);
/// --kv-layers and --kv-full-heads. Errors: kUsage naming the flag.
void read_kv_mix(const PlanOptions& options, PlanRequest& request);

}  // namespace vramplan::cli
