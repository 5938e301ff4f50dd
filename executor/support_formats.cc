#include "executor/support_formats.h"

#include "executor/weight_conversion.h"
#include "kernels/packed_parts.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& field,
                         const std::string& help) {
  throw Error(ErrorCode::kUnsupported, what).at("", field).help(help);
}

/// The kernels of a GPU read packed weights eight rows and 32 columns at a time.
void check_packed_shapes(const ModelCard& card, const std::string& what) {
  for (const Layer& layer : card.layers) {
    const Mixer& m = layer.mixer;
    for (const std::int64_t extent :
         {card.hidden, layer.feed_forward.intermediate, m.heads * m.head_dim, m.heads * m.value_dim,
          m.kv_heads * m.head_dim, m.kv_heads * m.value_dim}) {
      if (extent % 32 == 0) continue;
      refuse(what + " on a GPU with matrices of " + std::to_string(extent) + " rows or columns",
             "--weights", "multiples of 32 run there; any on a CPU");
    }
  }
}

/// Weights whose scales lie beside the codes: made of a card.
void check_packed(const ModelSource& source, const Decisions& decisions, DType weights, bool gpu) {
  if (packed_rule(weights) == nullptr) return;
  const std::string what = std::string("weights packed as ") + info(weights).name;
  if (!is_packed_weight(weights)) {
    refuse(what, "--weights",
           "fp8-tensor, fp8-channel, fp8-block, int8-channel, awq-int4, gptq-int4 and packed-int4 "
           "run, and f32, f16, bf16, fp8 without scales and the formats of GGUF");
  }
  if (gpu) check_packed_shapes(source.card, what);
  if (!decisions.weights && !source.card.unpacked.empty()) {
    refuse(what + " beside layers that are not", "--weights", "give --weights for all of them");
  }
}

bool has_kernels(DType dtype) {
  if (is_packed_weight(dtype)) return true;  // but see check_packed
  if (dtype == DType::kI8 || dtype == DType::kI32) return false;
  return dtype <= DType::kQ6_K;
}

/// Norms and biases are read as they are or widened; a quantised vector has no reader.
void check_vectors(const Gguf& gguf) {
  for (const GgufTensor& tensor : gguf.tensors()) {
    if (tensor.rows() != 1 || !is_block_quantised(tensor.dtype)) continue;
    refuse(std::string("a norm or bias of format ") + info(tensor.dtype).name, tensor.name,
           "f32, f16 and bf16 vectors run");
  }
}

/// What rounding cannot make of a file's weights.
void check_conversion(const Decisions& decisions) {
  for (const DType format : weight_formats(decisions)) {
    if (converts_to(format)) continue;
    refuse(std::string("converting a file's weights to ") + info(format).name +
               " when they are loaded",
           decisions.weights == format ? "--weights" : "--weight-layers",
           "f32, f16, bf16, fp8, q4_0, q4_1, q5_0, q5_1 and q8_0 are made by rounding; convert the "
           "file beforehand, or leave it as it is stored");
  }
}

}  // namespace

void check_packed(const ModelSource& source, const Decisions& decisions, bool computes, bool gpu) {
  check_weight_layers(source.card, decisions);
  if (source.gguf != nullptr) return;
  std::vector<DType> formats = weight_formats(decisions);
  if (!decisions.weights && computes) formats.push_back(source.card.stored_weights);
  for (const DType weights : formats) check_packed(source, decisions, weights, gpu);
}

void check_formats(const ModelSource& source, const Decisions& decisions, bool gpu) {
  const auto check = [&](DType dtype, const std::string& field) {
    if (has_kernels(dtype)) return;
    refuse(std::string("no kernel computes with weights of format ") + info(dtype).name, field,
           "f32, f16, bf16, fp8, q4_0 ... q8_0 and q2_k ... q6_k run");
  };
  if (source.gguf == nullptr) {
    check(decisions.weights.value_or(source.card.stored_weights), "--weights");
    for (const WeightLayerRange& piece : decisions.weight_layers) {
      check(piece.format.value_or(source.card.stored_weights), "--weight-layers");
    }
  } else {
    check_conversion(decisions);
    for (const GgufTensor& tensor : source.gguf->tensors()) check(tensor.dtype, tensor.name);
    check_vectors(*source.gguf);
  }
  const DType a = decisions.activations;
  if (gpu && (a == DType::kF32 || a == DType::kF16 || a == DType::kBF16)) return;
  if (a != DType::kF32) {
    refuse(std::string("activations of format ") + info(a).name + " on this backend", "activations",
           "f32 activations run on a CPU; f32, f16 and bf16 on a GPU");
  }
}

}  // namespace vramplan
