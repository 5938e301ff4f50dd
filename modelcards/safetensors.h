#pragma once
// Safetensors: the header of a .safetensors file, and the tensors of a checkpoint folder. Never
// reads tensor data, and never opens pickles (.bin, .pt).
#include <cstdint>
#include <string>
#include <vector>

#include "modelcards/dtype.h"
#include "modelcards/file.h"

namespace vramplan {

struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::kF32;  // unsigned integers and booleans count as the signed of their width
  std::vector<std::int64_t> shape;  // outermost first; empty for one number
  Bytes begin, end;                 // in the data section
};

/// Tensors by their place in the file.
/// Errors: kBadSafetensors (length beyond the file or 100,000,000 bytes, syntax, unknown or
/// repeated fields and names, sizes that do not match shape and dtype, overlaps, holes, bytes left
/// over); kUnsupported for dtypes outside dtype.h; kIo. Source: safetensors 0.8, format
/// description.
std::vector<SafetensorsTensor> read_safetensors(const File& file);

/// All tensors of a folder: of the shards named in model.safetensors.index.json, else of
/// model.safetensors, else of the only *.safetensors file; empty when there is none of them. A
/// shard must lie in the folder; a symbolic link may lead into the Hugging Face cache around it.
/// Errors: those of read_safetensors; kBadSafetensors for an index that lies; kFile.
std::vector<SafetensorsTensor> read_safetensors_folder(const std::string& folder);

}  // namespace vramplan
