#pragma once
// GgufCardReader: builds the card of a GGUF header. Its definitions lie in gguf_card.cc (dims and
// layers), gguf_card_positions.cc (rotary scaling, windows) and gguf_card_planned.cc (parts of
// architectures that are planned and not run).
#include <string>
#include <vector>

#include "modelcards/gguf_architecture.h"

namespace vramplan {

class GgufCardReader {
 public:
  explicit GgufCardReader(const Gguf& gguf)
      : gguf_(gguf), architecture_(find_gguf_architecture(gguf)), prefix_(architecture_.name) {
    prefix_ += '.';
  }

  ModelCard read();

 private:
  bool is(const char* name) const { return std::string(architecture_.name) == name; }
  std::string block(std::int64_t layer, const char* name) const {
    return gguf_block_name(layer, name);
  }
  bool has_tensor(const std::string& name) const { return gguf_.find_tensor(name) != nullptr; }
  std::int64_t ranged(const std::string& key, std::int64_t value, std::int64_t low,
                      std::int64_t high) const;
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                          std::int64_t high) const;
  std::vector<std::int64_t> per_layer(const char* key, std::int64_t fallback) const;

  void read_whole_model();
  void read_multipliers();
  void read_rope();
  void read_special_attention(std::int64_t layer, Mixer& mixer) const;
  void read_special_experts(std::int64_t layer, FeedForward& out) const;
  void read_planned_windows(std::int64_t window);
  void read_planned_positions();
  void collect_extras();
  void read_llama3_factors();
  void read_layers();
  Mixer read_mixer(std::int64_t layer, std::int64_t heads, std::int64_t kv_heads) const;
  FeedForward read_feed_forward(std::int64_t layer, std::int64_t width) const;
  void read_residuals(std::int64_t layer, Layer& out) const;
  void read_windows();
  double softmax_scale(std::int64_t heads) const;

  DType most_common_dtype() const;

  const Gguf& gguf_;
  const GgufArchitecture& architecture_;
  std::string prefix_;
  ModelCard card_;
  Rope rope_;
};

}  // namespace vramplan
