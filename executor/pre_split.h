#pragma once
// PreSplit: cuts a text into the pieces inside which byte pairs may merge. Each vocabulary was
// trained with one published pattern (or several in turn) and gives other ids with another.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vramplan {

class PreSplit {
 public:
  /// `name` as in tokenizer.ggml.pre. Errors: kUnsupported naming the pre-split and the known ones.
  explicit PreSplit(const std::string& name);
  ~PreSplit();
  PreSplit(const PreSplit&) = delete;
  PreSplit& operator=(const PreSplit&) = delete;

  /// Pieces in order; joined they are the text. The first pattern's matches and the stretches
  /// between them are pieces; each is cut again by the next pattern. Bytes that are not UTF-8 are
  /// pieces of their own. The views point into `text`.
  std::vector<std::string_view> split(std::string_view text) const;

  /// A piece that is a token as a whole is taken without merging (Llama 3, Tekken).
  bool whole_piece_first() const { return whole_piece_first_; }
  /// What holds when the file does not say add_bos_token.
  bool adds_bos() const { return adds_bos_; }

  static std::vector<std::string> names();

 private:
  struct Pattern;
  std::vector<std::unique_ptr<Pattern>> patterns_;
  bool whole_piece_first_ = false, adds_bos_ = false;
};

}  // namespace vramplan
