// check_gguf_tensors: the tensor table against the card.
#include <set>

#include "modelcards/gguf_architecture.h"

namespace vramplan {
namespace {

class TensorCheck {
 public:
  TensorCheck(const Gguf& gguf, const GgufArchitecture& architecture, const ModelCard& card)
      : gguf_(gguf), architecture_(architecture), card_(card) {}
  void run();

 private:
  bool is(const char* name) const { return std::string(architecture_.name) == name; }
  bool has_tensor(const std::string& name) const { return gguf_.find_tensor(name) != nullptr; }
  static std::string block(std::int64_t layer, const char* name) {
    return gguf_block_name(layer, name);
  }
  void check_layer(std::int64_t layer);
  void check_attention(std::int64_t layer, const Mixer& mixer);
  void check_feed_forward(std::int64_t layer, const FeedForward& out);
  void expect(const std::string& name, std::vector<std::int64_t> shape);
  void expect_linear(const std::string& stem, std::int64_t rows, std::int64_t columns, bool bias);
  void expect_norm(const std::string& stem);

  const Gguf& gguf_;
  const GgufArchitecture& architecture_;
  const ModelCard& card_;
  std::set<std::string> expected_;
};

void TensorCheck::expect(const std::string& name, std::vector<std::int64_t> shape) {
  const GgufTensor* tensor = gguf_.find_tensor(name);
  const auto text = [](const std::vector<std::int64_t>& dims) {
    std::string out;
    for (const std::int64_t d : dims) out += (out.empty() ? "" : " x ") + std::to_string(d);
    return out;
  };
  if (tensor == nullptr)
    fail_gguf_card(gguf_, name, "the tensor is missing; expected " + text(shape));
  if (tensor->shape != shape) {
    fail_gguf_card(
        gguf_, name,
        "the tensor has the shape " + text(tensor->shape) + ", the metadata gives " + text(shape));
  }
  expected_.insert(name);
}

void TensorCheck::expect_linear(const std::string& stem, std::int64_t rows, std::int64_t columns,
                                bool bias) {
  expect(stem + ".weight", {rows, columns});
  if (bias) expect(stem + ".bias", {rows});
}

void TensorCheck::expect_norm(const std::string& stem) {
  expect(stem + ".weight", {card_.hidden});
  if (card_.norm == NormKind::kLayer) expect(stem + ".bias", {card_.hidden});
}

void TensorCheck::check_attention(std::int64_t layer, const Mixer& mixer) {
  const std::int64_t q = mixer.heads * mixer.head_dim;
  const std::int64_t k = mixer.kv_heads * mixer.head_dim;
  const std::int64_t v = mixer.kv_heads * mixer.value_dim;
  if (has_tensor(block(layer, "attn_qkv.weight"))) {
    expect_linear(block(layer, "attn_qkv"), q + k + v, card_.hidden, mixer.qkv_bias);
  } else {
    expect_linear(block(layer, "attn_q"), q, card_.hidden, mixer.qkv_bias);
    expect_linear(block(layer, "attn_k"), k, card_.hidden, mixer.qkv_bias);
    expect_linear(block(layer, "attn_v"), v, card_.hidden, mixer.qkv_bias);
  }
  expect_linear(block(layer, "attn_output"), card_.hidden, mixer.heads * mixer.value_dim,
                mixer.output_bias);
  if (mixer.qk_norm) {
    expect(block(layer, "attn_q_norm.weight"), {mixer.head_dim});
    expect(block(layer, "attn_k_norm.weight"), {mixer.head_dim});
  }
}

void TensorCheck::check_feed_forward(std::int64_t layer, const FeedForward& out) {
  const std::int64_t hidden = card_.hidden, width = out.intermediate;
  if (out.kind == FeedForwardKind::kMoe) {
    expect(block(layer, "ffn_gate_inp.weight"), {out.experts, hidden});
    expect(block(layer, "ffn_gate_exps.weight"), {out.experts, width, hidden});
    expect(block(layer, "ffn_up_exps.weight"), {out.experts, width, hidden});
    expect(block(layer, "ffn_down_exps.weight"), {out.experts, hidden, width});
    return;
  }
  // Phi-3 keeps gate and up in one matrix.
  const bool fused = out.gated && is("phi3") && !has_tensor(block(layer, "ffn_gate.weight"));
  expect_linear(block(layer, "ffn_up"), fused ? 2 * width : width, hidden, out.bias);
  if (out.gated && !fused) expect_linear(block(layer, "ffn_gate"), width, hidden, out.bias);
  expect_linear(block(layer, "ffn_down"), hidden, width, out.bias);
}

void TensorCheck::check_layer(std::int64_t layer) {
  const Layer& l = card_.layers[static_cast<std::size_t>(layer)];
  check_attention(layer, l.mixer);
  check_feed_forward(layer, l.feed_forward);
  expect_norm(block(layer, "attn_norm"));
  if (!l.parallel) expect_norm(block(layer, "ffn_norm"));
  if (l.parallel_two_norms) {
    expect_norm(block(layer, is("falcon") ? "attn_norm_2" : "ffn_norm"));
  }
  if (l.post_norms) {
    expect_norm(block(layer, "post_attention_norm"));
    expect_norm(block(layer, "post_ffw_norm"));
  }
  // Tables of frequencies that old converters wrote; nothing reads them.
  expected_.insert(block(layer, "attn_rot_embd.weight"));
}

void TensorCheck::run() {
  expect("token_embd.weight", {card_.vocab, card_.hidden});
  if (card_.learned_positions > 0) {
    expect("position_embd.weight", {card_.learned_positions, card_.hidden});
  }
  expect_norm("output_norm");
  if (!card_.tied_head) expect("output.weight", {card_.vocab, card_.hidden});
  if (card_.head_bias) expect("output.bias", {card_.vocab});
  for (std::int64_t i = 0; i < card_.layer_count(); ++i) check_layer(i);
  if (!gguf_.rope_factors().empty()) {
    expect("rope_freqs.weight", {card_.layers[0].mixer.rope.rotary_dim / 2});
  }
  for (const GgufTensor& tensor : gguf_.tensors()) {
    if (expected_.count(tensor.name) == 0) {
      refuse_gguf_card(gguf_, tensor.name,
                       "a tensor that the family " + std::string(architecture_.family) +
                           " does not have; the card would miss its bytes and its work");
    }
  }
}

}  // namespace

std::string gguf_block_name(std::int64_t layer, const char* name) {
  return "blk." + std::to_string(layer) + "." + name;
}

void check_gguf_tensors(const Gguf& gguf, const GgufArchitecture& architecture,
                        const ModelCard& card) {
  TensorCheck(gguf, architecture, card).run();
}

}  // namespace vramplan
