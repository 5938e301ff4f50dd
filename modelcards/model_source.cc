#include "modelcards/model_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "modelcards/hf_config.h"
#include "modelcards/library.h"
#include "modelcards/safetensors.h"

namespace vramplan {
namespace {

namespace fs = std::filesystem;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

ModelSource open_gguf(const std::string& path) {
  ModelSource source;
  source.kind = SourceKind::kGguf;
  source.path = path;
  source.gguf = std::make_shared<const Gguf>(Gguf::read(*open_file(path)));
  source.card = model_card_from_gguf(*source.gguf);
  source.stored.reserve(source.gguf->tensors().size());
  for (const GgufTensor& tensor : source.gguf->tensors()) {
    source.stored.push_back(
        {tensor.name, tensor.dtype, tensor.rows(), tensor.columns(), tensor.bytes});
  }
  return source;
}

StoredTensor stored_of(const SafetensorsTensor& tensor) {
  StoredTensor out{tensor.name, tensor.dtype, 1, 1, tensor.end - tensor.begin};
  if (!tensor.shape.empty()) out.columns = tensor.shape.back();
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    out.rows = detail::checked_mul(out.rows, tensor.shape[i]);
  }
  return out;
}

/// The dtype that most bytes of matrices have.
DType most_common_dtype(const std::vector<StoredTensor>& stored, DType fallback) {
  std::map<DType, Bytes> bytes;
  for (const StoredTensor& tensor : stored) {
    if (tensor.rows > 1) bytes[tensor.dtype] += tensor.bytes;
  }
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  return most == bytes.end() ? fallback : most->first;
}

/// Towers and projectors beside a decoder, by what their names begin with.
bool is_side_tensor(const std::string& name) {
  constexpr const char* kSides[] = {"visual.",       "vision_tower.",          "vision_model.",
                                    "audio_tower.",  "multi_modal_projector.", "mm_projector.",
                                    "audio_model.",  "embed_vision.",          "embed_audio.",
                                    "vision_embed.", "multimodal_projector.",  "patch_merger."};
  const std::size_t start = name.rfind("model.", 0) == 0 ? 6 : 0;
  return std::any_of(std::begin(kSides), std::end(kSides), [&](const char* side) {
    return name.compare(start, std::strlen(side), side) == 0;
  });
}

/// What the headers say of tensors beside the decoder replaces what a config implies: one tensor a
/// format, in the first stage's `encoder` row.
void place_side_tensors(ModelSource& source) {
  std::map<DType, StoredTensor> sides;
  for (const StoredTensor& tensor : source.stored) {
    if (!is_side_tensor(tensor.name)) continue;
    const std::string name = std::string("side_tensors.") + info(tensor.dtype).name;
    StoredTensor& side =
        sides.try_emplace(tensor.dtype, StoredTensor{name, tensor.dtype, 1, 0, {}}).first->second;
    side.columns =
        detail::checked_add(side.columns, detail::checked_mul(tensor.rows, tensor.columns));
    side.bytes += tensor.bytes;
  }
  if (sides.empty()) return;
  std::erase_if(source.stored, [](const StoredTensor& t) { return is_side_tensor(t.name); });
  std::erase_if(source.card.extras, [](const ExtraTensor& e) { return e.group == "encoder"; });
  for (auto& [dtype, side] : sides) {
    source.card.extras.push_back({side.name, "encoder", 1, side.columns, Split::kNone, false});
    source.stored.push_back(std::move(side));
  }
}

ModelSource open_folder(const std::string& folder, const std::string& assume_like) {
  const std::string config = (fs::path(folder) / "config.json").string();
  std::error_code error;
  if (!fs::exists(config, error)) {
    throw Error(ErrorCode::kFile, "the folder has no config.json")
        .at(folder)
        .help("name a .gguf file, or a checkpoint folder of Hugging Face");
  }
  ModelSource source;
  source.kind = SourceKind::kFolder;
  source.path = folder;
  for (const SafetensorsTensor& tensor : read_safetensors_folder(folder)) {
    source.stored.push_back(stored_of(tensor));
  }
  const auto file = open_file(config);
  source.card =
      read_hf_config(read_text(*file, 1_MiB), config, !source.stored.empty(), assume_like);
  if (packed_rule(source.card.stored_weights) == nullptr) {
    source.card.stored_weights = most_common_dtype(source.stored, source.card.stored_weights);
  }
  place_side_tensors(source);
  return source;
}

ModelSource open_card(const std::string& model) {
  ModelSource source;
  if (ends_with(model, ".yaml")) {
    source.path = model;
    source.card = parse_model_card(read_text(*open_file(model), 1_MiB), model);
  } else {
    source.card = model_card(model);
  }
  return source;
}

}  // namespace

ModelSource open_model(const std::string& model, const std::string& assume_like) {
  std::error_code error;
  ModelSource source;
  if (fs::is_directory(model, error)) {
    source = open_folder(model, assume_like);
  } else if (ends_with(model, ".gguf")) {
    source = open_gguf(model);
  } else if (fs::path(model).filename() == "config.json") {
    const fs::path folder = fs::path(model).parent_path();
    source = open_folder(folder.empty() ? "." : folder.string(), assume_like);
  } else if (model.find('/') != std::string::npos && !ends_with(model, ".yaml")) {
    // A path, not a card name: a missing file must not be answered with a list of cards.
    source = open_gguf(model);
  } else {
    source = open_card(model);
  }
  validate(source.card);
  return source;
}

}  // namespace vramplan
