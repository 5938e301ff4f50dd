#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "planner/engines/twin.h"
#include "tests/planner/engines/rig.h"

namespace vramplan {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

EngineForecast run(const char* card, const EngineRequest& request, int devices = 1,
                   std::optional<DType> weights = DType::kF16) {
  ModelSource source;
  source.card = model_card(card);
  const DeviceCard device = device_card("rtx-3090-24gb");
  Decisions d;
  d.sharding.pp = devices;
  d.device_count = devices;
  d.capacity = {device.capacity_bytes.value};
  d.weights = weights;
  return forecast_engine(source, device, d, request).devices.front();
}

EngineRequest request_of(std::int64_t context, bool flash) {
  EngineRequest request;
  request.id = {EngineKind::kLlamacpp, "b4370"};
  request.max_model_len = Tokens{context};
  request.max_num_batched_tokens = Tokens{512};
  request.max_num_seqs = 1;
  request.flash_attention = flash;
  return request;
}

// A log of build b4370: model 5049.71 MiB on the device, cache 640 MiB, compute 162 MiB.
TEST(Llamacpp, PythiaOnOneDeviceIsWhatItsLogPrinted) {
  const EngineForecast f = run("pythia-2.8b", request_of(2048, false));
  EXPECT_NEAR(static_cast<double>(f.weights.n) / kMiB, 5049.71, 5);
  EXPECT_EQ(static_cast<double>(f.kv.n) / kMiB, 640);
  EXPECT_NEAR(static_cast<double>(f.compute.n) / kMiB, 162.0, 0.1);
}

// Llama 3 8B, 512 cells, no flash attention: the head decides, 258.5 MiB.
TEST(Llamacpp, AtAShortContextTheHeadIsTheLargestMoment) {
  const EngineForecast f = run("llama-3-8b", request_of(512, false));
  EXPECT_EQ(static_cast<double>(f.kv.n) / kMiB, 64);
  EXPECT_NEAR(static_cast<double>(f.compute.n) / kMiB, 258.5, 0.1);
}

// Llama 3 8B, 8192 cells, two devices: 640 MiB on each, the head's device included.
TEST(Llamacpp, PipelineCopiesOfTheMaskCount) {
  const EngineForecast f = run("llama-3-8b", request_of(8192, false), 2, DType::kQ4_K);
  EXPECT_NEAR(static_cast<double>(f.compute.n) / kMiB, 640.0, 0.1);
}

TEST(Llamacpp, AQuantisedCacheTakesItsBlockScales) {
  EngineRequest request = request_of(8192, true);
  request.kv_cache_dtype = "q8_0";
  const EngineForecast f = run("llama-3-8b", request);
  EXPECT_EQ(f.kv.n, 8192LL * 32 * 2048 * 34 / 32);
  request.kv_cache_dtype = "q4_0";
  EXPECT_EQ(run("llama-3-8b", request).kv.n, 8192LL * 32 * 2048 * 18 / 32);
}

TEST(Llamacpp, SlotsTakeTheirContextEach) {
  EngineRequest request = request_of(1024, true);
  request.max_num_seqs = 4;
  EXPECT_EQ(run("llama-3-8b", request).kv_tokens.n, 4096);
}

TEST(Llamacpp, TheInputTableStaysOnTheHostUnlessItIsTheHead) {
  const EngineForecast untied = run("llama-3-8b", request_of(512, true));
  EXPECT_EQ(untied.weights.n, (8'030'261'248 - 128'256LL * 4096) * 2);
  const EngineForecast tied = run("llama-3.2-1b", request_of(512, true));
  EXPECT_EQ(tied.weights.n, 1'235'814'400LL * 2);
}

// Slots have a window each: 1,024 x 4 + 512 cells, already a multiple of 256, of 5 layers. Source:
// llama-kv-cache-iswa, n_swa x n_seq_max + n_ubatch (ik_llama.cpp#1607).
TEST(Llamacpp, EverySlotKeepsAWindow) {
  test::Rig rig(EngineKind::kLlamacpp);
  rig.settings.max_num_seqs = 4;
  rig.settings.max_num_batched_tokens = Tokens{512};
  rig.model.kv = {{MixerKind::kSlidingWindow, 1024, 5, BytesPerToken{8192}}};
  EXPECT_EQ(llamacpp_rank(rig.input()).kv.n, 4608LL * 5 * 8192);
}

}  // namespace
}  // namespace vramplan
