#pragma once
// ModelSource: what MODEL on the command line turned out to be.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "modelcards/gguf.h"
#include "modelcards/model_card.h"

namespace vramplan {

enum class SourceKind { kCard, kGguf, kFolder };

/// One tensor as a file stores it: the truth for weight bytes when a file is given.
struct StoredTensor {
  std::string name;
  DType dtype;
  std::int64_t rows = 0, columns = 0;  // a vector is 1 row
  Bytes bytes;
};

struct ModelSource {
  SourceKind kind = SourceKind::kCard;
  std::string path;  // empty for a card name
  ModelCard card;
  std::shared_ptr<const Gguf> gguf;  // kGguf only
  // In file order, by the names of the file: a GGUF, or a folder's .safetensors, where what lies
  // beside the decoder is one tensor a format. Empty for a card and for a config.json alone.
  std::vector<StoredTensor> stored;
  std::shared_ptr<const ModelSource> draft;  // the smaller model of speculative decoding
};

/// MODEL is a card name, a card file (.yaml), a .gguf file, a config.json, or a folder with one.
/// With .safetensors in the folder, `stored` and card.stored_weights come from their headers.
/// `assume_like`: a model_type of Hugging Face whose recipe of layers a config of an unknown family
/// is read with; the card's evidence is then "assumed". Errors: kUnknownName, kFile, and those of
/// the readers.
ModelSource open_model(const std::string& model, const std::string& assume_like = {});

}  // namespace vramplan
