#pragma once
// SupportFormats: which formats of weights and activations run, of a file, converted from one, or
// of a card. Used by support.cc alone.
#include "modelcards/model_source.h"
#include "planner/decisions.h"

namespace vramplan {

/// Errors: kUnsupported naming a packed format without a reader, or a shape that does not fill it;
/// those of check_weight_layers.
void check_packed(const ModelSource& source, const Decisions& decisions, bool computes, bool gpu);
/// Of a backend that computes. Errors: kUnsupported naming a format without a kernel, one that
/// rounding does not make of a file's weights, or activations that do not run there.
void check_formats(const ModelSource& source, const Decisions& decisions, bool gpu);

}  // namespace vramplan
