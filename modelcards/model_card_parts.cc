// special_parts: what a card has beyond a plain decoder, in words.
#include <algorithm>

#include "modelcards/model_card.h"
#include "modelcards/model_card_fields.h"

namespace vramplan {
namespace {

using namespace card_fields;

/// Collects each text once, in the order it is met.
class Parts {
 public:
  void add(bool there, const char* text) {
    if (there && std::find(parts_.begin(), parts_.end(), text) == parts_.end()) {
      parts_.emplace_back(text);
    }
  }
  std::vector<std::string> take() { return std::move(parts_); }

 private:
  std::vector<std::string> parts_;
};

void add_mixer(const Mixer& mixer, Parts& parts) {
  parts.add(mixer.kind == MixerKind::kChunked, "chunked attention");
  parts.add(mixer.kind == MixerKind::kMla, "multi-head latent attention (MLA)");
  parts.add(mixer.linear.kind != LinearKind::kNone, "a linear or state-space mixer");
  parts.add(mixer.kv_shared, "layers that share another's keys and values");
  parts.add(mixer.no_rope, "layers without rotary embedding");
  parts.add(mixer.rope.scaling == "other", "a rotary scaling of its own");
  parts.add(mixer.sinks, "attention sinks");
  parts.add(mixer.output_gate, "gated attention outputs");
  parts.add(mixer.index_heads > 0, "an indexer of sparse attention");
  const bool usual_norm = mixer.qk_norm_shape == QkNormShape::kHead && !mixer.qk_norm_bias;
  parts.add(mixer.qk_norm && !usual_norm, "q and k norms other than an RMSNorm of each head");
}

void add_feed_forward(const FeedForward& ff, Parts& parts) {
  parts.add(ff.activation == Activation::kRelu2 || ff.activation == Activation::kSiluClipped,
            "a squared ReLU or clipped SwiGLU");
  if (ff.kind != FeedForwardKind::kMoe) return;
  parts.add(ff.router == RouterKind::kSigmoid, "sigmoid routing");
  parts.add(ff.router_bias, "a bias on expert scores");
  parts.add(ff.shared_gate, "a gated shared expert");
  parts.add(ff.bias, "experts with biases");
  parts.add(!ff.renormalise || ff.routed_scale != 1, "routing weights that do not sum to 1");
  parts.add(ff.router_groups > 1, "group-limited routing");
}

}  // namespace

std::vector<std::string> special_parts(const ModelCard& card) {
  Parts parts;
  parts.add(card.norm == NormKind::kLayerNoBias || card.norm == NormKind::kLayerPlain,
            "layer norms without bias");
  parts.add(card.position == PositionKind::kAlibi, "ALiBi positions");
  parts.add(card.residual_multiplier != 1 || card.logit_multiplier != 1,
            "residual or logit multipliers");
  parts.add(card.mtp_loaded && card.mtp_layers > 0, "multi-token prediction layers");
  for (const Layer& layer : card.layers) {
    add_mixer(layer.mixer, parts);
    add_feed_forward(layer.feed_forward, parts);
    parts.add(!layer.extras.empty(), "tensors that only its family has");
  }
  parts.add(!card.extras.empty(), "tensors that only its family has");
  return parts.take();
}

}  // namespace vramplan
