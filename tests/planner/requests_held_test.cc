#include "planner/requests_held.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(RequestsHeld, OnePoolHoldsItsTokens) {
  EngineForecast f;
  f.kv_tokens = Tokens{10000};
  EXPECT_DOUBLE_EQ(requests_held(f, 500), 20.0);
}

// Made for ten sequences of 8192: short requests fill the pool of the small window all the same.
TEST(RequestsHeld, TheFullestPoolDecides) {
  EngineForecast f;
  f.kv_tokens = Tokens{81920};
  f.kv_pools = {{Tokens{1024}, {}, Tokens{10240}, {}}, {Tokens{8192}, {}, Tokens{81920}, {}}};
  EXPECT_DOUBLE_EQ(requests_held(f, 8192), 10.0);
  EXPECT_DOUBLE_EQ(requests_held(f, 2048), 10.0);
  EXPECT_DOUBLE_EQ(requests_held(f, 512), 20.0);
}

}  // namespace
}  // namespace vramplan
