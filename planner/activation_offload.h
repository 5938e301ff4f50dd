#pragma once
// ActivationOffload accounts: prefill goes layer by layer over all chunks of a prompt, whose hidden
// states wait in host memory between the layers. The device holds one chunk's activations, whatever
// the prompt; a streamed layer comes in once a prompt, not once a chunk.
#include "modelcards/model_card.h"
#include "planner/decisions.h"

namespace vramplan {

/// Of one prompt: tokens x hidden in the activation format.
Bytes hidden_state_bytes(std::int64_t hidden, const Decisions& decisions);
/// In and out of the device, for each layer of `layers`.
Bytes hidden_state_traffic(std::int64_t hidden, std::int64_t layers, const Decisions& decisions);

/// Errors: kUnsupported naming what gives blocks back or brings them in while a prompt's chunks go
/// by, which has no place when a layer sees all chunks before the next one sees any.
void check_activation_offload(const ModelCard& card, const Decisions& decisions);

}  // namespace vramplan
