#pragma once
// Latency: seconds of a forward pass as a sum over its operations. An operation's cost is calls,
// bytes and flops; a device card turns that into seconds by its measured cost lines, or by launch,
// bandwidth and peak. Additive: nothing overlaps, which keeps one efficiency factor valid from
// prefill to decode.
#include <string>
#include <vector>

#include "planner/device_links.h"
#include "planner/forward_work.h"
#include "planner/plan.h"

namespace vramplan {

struct DraftAccount;

/// Seconds by what they are spent on.
struct OpTime {
  Seconds launch, memory, compute, link;
  Seconds total() const { return launch + memory + compute + link; }
};
/// A cost line of the card for (op, dtype), else (op, "any"):
/// calls * call_s + bytes / bytes_per_s + flops / flops_per_s. Without one: calls * launch_s +
/// bytes / (memory_bytes_per_s * memory_efficiency) + flops / (peak * compute_efficiency);
/// collectives use the card's links. Errors: kBadCard naming the missing field.
OpTime op_time(const DeviceCard& device, const OpWork& work);
Seconds op_seconds(const DeviceCard& device, const OpWork& work);
/// What `calls` operations take outside of themselves: nothing on a card that does not say.
Seconds between_seconds(const DeviceCard& device, std::int64_t calls);
/// Both of a whole pass.
Seconds work_seconds(const DeviceCard& device, const std::vector<OpWork>& works);

/// bytes / rate: the least time a step can take that has to read these bytes once.
/// 140 GB at 3 TB/s = 46.7 ms.
Seconds decode_floor(Bytes bytes, BytesPerSecond rate);
/// Bytes a decode step must read on a rank: weights without the untied embedding table, of the
/// experts only those one token needs, and the cache of every sequence at `context` tokens (or the
/// window).
Bytes decode_bytes(const RankModel& model, const Decisions& decisions, Tokens context);

/// What passes of a stage wait for blocks beyond the device: a decode step over caches of
/// step.kv_length, each sequence in blocks of its own, and the prefill of one prompt, chunk by
/// chunk. Errors: as far_link and kv_offload_bytes.
Seconds decode_stall(const RankModel& stage, const Decisions& decisions, const DeviceCard& device,
                     const PassWork& step);
Seconds prefill_stall(const RankModel& stage, const Decisions& decisions, const DeviceCard& device);
/// The same for matrices in host memory. Errors: as far_link.
Seconds decode_weight_stall(const RankModel& stage, const Decisions& decisions,
                            const DeviceCard& device, const PassWork& step);
Seconds prefill_weight_stall(const RankModel& stage, const Decisions& decisions,
                             const DeviceCard& device);

/// Stages one after another (`stages`: one rank of each); ranks of a stage work at the same time.
/// TTFT and TPOT are those of one replica while all compute; rates are those of all together.
/// `draft`: null without a draft model. A step that asks about guesses takes what it takes, and
/// TPOT is its share of the tokens that are expected of it.
Performance predict_performance(const std::vector<RankModel>& stages, const Decisions& decisions,
                                const DeviceCard& device, const DraftAccount* draft = nullptr);

}  // namespace vramplan
