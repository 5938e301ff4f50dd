// SGLang's twin, term by term.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/planner/engines/rig.h"

namespace vramplan {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

/// capacity - context - communicator, of which the fraction is what the reserve leaves.
double available(double capacity_mib, double beside_mib, double reserve_mib) {
  return (capacity_mib - beside_mib) * (capacity_mib - reserve_mib) / capacity_mib * kMiB;
}

// 512 + 1.5 chunk + 1024 ranks / 8 + 2 graph batch: below the floor of 10 GiB on a large device.
// Source: srt/server_args.py, _handle_gpu_memory_settings.
TEST(Sglang, TheReserveHasAFloorOnLargeDevices) {
  test::Rig rig(EngineKind::kSglang);
  rig.settings.memory_fraction = 0;
  rig.settings.max_num_batched_tokens = Tokens{2048};
  EXPECT_NEAR(static_cast<double>(sglang_rank(rig.input()).available.n),
              available(81920, 512, 10240), 2);
  rig.decisions.capacity = 24_GiB;  // no floor: 512 + 3072 + 128 + 512
  EXPECT_NEAR(static_cast<double>(sglang_rank(rig.input()).available.n),
              available(24576, 512, 4224), 2);
}

// Chunks of all groups, and 3 MiB more a graph batch and group while batches are at most 300.
TEST(Sglang, AttentionGroupsReserveForTheirGraphs) {
  test::Rig rig(EngineKind::kSglang);
  rig.settings.memory_fraction = 0;
  rig.model.groups = 2;
  rig.decisions.sharding.tp = 8;
  const double reserve = 512 + 1.5 * 8192 * 2 + 1024 + 2 * 256 + 3 * 256 * 2;
  EXPECT_NEAR(static_cast<double>(sglang_rank(rig.input()).available.n),
              available(81920, 512 + 392, reserve), 2);
}

// 6 GiB for a model beside it, 2 GiB for heads and layers of its own, nothing for a look back.
TEST(Sglang, DraftsReserveByWhatTheyAre) {
  test::Rig rig(EngineKind::kSglang);
  rig.settings.memory_fraction = 0;
  for (const auto& [method, mib] : {std::pair<const char*, double>{"draft", 6144},
                                    {"eagle3", 2048},
                                    {"mtp", 2048},
                                    {"ngram", 0}}) {
    rig.settings.speculation.method = method;
    EXPECT_NEAR(static_cast<double>(sglang_rank(rig.input()).available.n),
                available(81920, 512, 512 + 1.5 * 8192 + 128 + 512 + mib), 2)
        << method;
  }
}

// Four ranks hold every fourth token each of one cache: 4 x what the bytes of one hold, and a limit
// of tokens is shared between them.
TEST(Sglang, RanksOfOneCacheHoldItsTokensTogether) {
  test::Rig rig(EngineKind::kSglang);
  rig.model.context_ranks = 4;
  rig.model.kv = {{MixerKind::kMla, 0, 60, BytesPerToken{1152}}};
  rig.settings.kv_cache_memory = Bytes{60LL * 1152 * 1000};
  EXPECT_EQ(sglang_rank(rig.input()).kv_tokens, Tokens{4000});
  rig.settings.kv_tokens = Tokens{2001};
  const EngineForecast limited = sglang_rank(rig.input());
  EXPECT_EQ(limited.kv, Bytes{60LL * 1152 * 501});
  EXPECT_EQ(limited.kv_tokens, Tokens{2004});
}

}  // namespace
}  // namespace vramplan
