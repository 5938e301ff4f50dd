#pragma once
// The ways bytes take beyond a device's own memory, as its card gives them.
#include "modelcards/device_card.h"
#include "modelcards/shared_speeds.h"
#include "planner/decisions.h"

namespace vramplan {

/// Errors: kBadCard naming the field that the card lacks.
[[noreturn]] void missing_in_card(const DeviceCard& device, const char* field);

/// The link a collective of `ranks` devices uses: the fastest inside a node, the network beyond it.
/// Ranks of a CPU card without links share its memory. Errors: kBadCard without such a link.
Link link_between(const DeviceCard& device, int ranks);

/// The way of cache blocks beyond the device: to the host the card's pcie link, or on a CPU copies
/// in its own memory (copy_bytes_per_s, else half its rate); to a disk its nvme link. Errors:
/// kBadCard naming the missing link.
Link far_link(const DeviceCard& device, KvPlacement placement);
bool has_far_link(const DeviceCard& device, KvPlacement placement);
/// Speeds of a transfer and of a pass that computes beside it: whole over a link of its own. A disk
/// sends at its own speed, and what comes takes from the threads that compute; a CPU's copies and
/// what computes slow each other alike. How much is the card's `overlap`, the share that is hidden
/// when both take equally long: as calibrate measured it; for copies nothing, for a disk all, where
/// a card does not say.
SharedSpeeds far_speeds(const DeviceCard& device, KvPlacement placement);

}  // namespace vramplan
