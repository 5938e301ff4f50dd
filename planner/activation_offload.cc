#include "planner/activation_offload.h"

#include <algorithm>

namespace vramplan {

Bytes hidden_state_bytes(std::int64_t hidden, const Decisions& decisions) {
  return bytes_of(decisions.activations, (decisions.context - decisions.output).n, hidden);
}

Bytes hidden_state_traffic(std::int64_t hidden, std::int64_t layers, const Decisions& decisions) {
  // In and out of every layer; the embedding puts them there, the head takes the last chunk as it
  // is.
  return hidden_state_bytes(hidden, decisions) * (2 * layers + 1);
}

void check_activation_offload(const ModelCard& card, const Decisions& decisions) {
  if (!decisions.activation_offload) return;
  const auto refuse = [](const char* what, const char* help) {
    throw Error(ErrorCode::kUnsupported, what).at("", "--activation-offload").help(help);
  };
  const bool windowed = std::any_of(
      card.layers.begin(), card.layers.end(),
      [&](const Layer& layer) { return !keep_of(decisions, layer.mixer.window_tokens).all(); });
  if (windowed || decisions.kv_residual.tokens.n > 0) {
    refuse("prefill layer by layer with layers that keep a window",
           "use --kv-policy keep_all and a format without a residual window");
  }
  if (decisions.kv_placement != KvPlacement::kDevice) {
    refuse("prefill layer by layer with a cache beyond the device", "--kv-placement device");
  }
}

}  // namespace vramplan
