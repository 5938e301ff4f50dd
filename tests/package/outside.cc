// An outside project: prints the KV cache bytes of one token of a shipped card.
#include <cstdio>

#include "modelcards/library.h"
#include "planner/plan.h"

int main() {
  vramplan::PlanRequest request;
  request.model = "llama-3-70b";
  request.device = "h100-sxm-80gb";
  request.count = 2;
  const auto plan = vramplan::make_plan(vramplan::open_model(request.model),
                                        vramplan::device_card(request.device), request);
  std::printf("%lld\n", static_cast<long long>(plan.predictions.totals.kv_bytes_per_token.n));
}
