#pragma once
// WeightNames: a checkpoint's tensor names (Hugging Face) as the names the account uses (GGUF).
#include <vector>

#include "modelcards/model_source.h"

namespace vramplan {

/// source.stored under GGUF names; experts of a layer stacked into one tensor a matrix. A second
/// copy of a tied head is left out. Empty when the source has no tensor table, or when a name of a
/// folder is not known: the account then goes by the card's stored format. GGUF tables pass
/// through.
std::vector<StoredTensor> stored_by_gguf_name(const ModelSource& source);

}  // namespace vramplan
