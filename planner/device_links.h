#pragma once
// The ways bytes take beyond a device's own memory, as its card gives them.
#include "modelcards/device_card.h"
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
/// Share of its speed that a transfer keeps while a pass computes: all of it over a link of its
/// own. A CPU's copies take the processor and the memory that compute: what calibrate measured, and
/// nothing on a card that does not say. A disk's as calibrate measured it; all where it did not.
double far_overlap(const DeviceCard& device, KvPlacement placement);

}  // namespace vramplan
