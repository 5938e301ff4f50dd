#pragma once
// Backend: Ops + tiers + clock + synchronise. Three of them: cpu, cuda, dry.
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "executor/clock.h"
#include "executor/gpu_workspace.h"
#include "executor/hidden_states.h"
#include "executor/kv_stream.h"
#include "executor/pass_input.h"
#include "executor/sampler.h"
#include "executor/side_copies.h"
#include "executor/tier.h"
#include "executor/timed_ops.h"
#include "executor/weight_stream.h"
#include "executor/weight_upload.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"
#include "planner/decisions.h"

namespace vramplan {

/// The forward pass of a transformer: logits [R, vocab] in the activation arena.
using ForwardPass = std::function<TensorView(const PassInput&)>;

/// Tokens to draw: from `rows` rows of `logits`, from row `first` on.
struct SampleRequest {
  TensorView logits;
  std::int64_t first = 0, rows = 0;
  Sampling sampling;
  std::span<const float> uniform;  // [rows] in [0, 1), for a temperature above 0
  TensorView workspace;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Ops& ops() = 0;
  virtual Tier& tier(TierKind kind) = 0;
  virtual Clock& clock() = 0;
  virtual void synchronize() = 0;
  /// True when tensors have memory and values (cpu, cuda), false on dry.
  virtual bool computes() const = 0;

  // What follows differs on a GPU only.

  /// Null when this stands for no GPU: then a rank has no GpuWorkspace.
  virtual const GpuFacts* gpu() const { return nullptr; }
  /// Takes all that the regions of a rank will need in one piece.
  virtual void reserve_all(Bytes) {}
  /// The workspace that passes use from now on; null before it goes away.
  virtual void bind(GpuWorkspace*) {}
  /// Rows that a pass of decode is brought to before run_pass: see captured_rows.
  virtual std::int64_t step_rows(std::int64_t rows) const { return rows; }
  /// Runs `forward` on a pass of the same content, or replays what an earlier one did at the same
  /// addresses. The logits may have more rows than `pass` asked for; those behind mean nothing.
  virtual TensorView run_pass(const PassInput& pass, Arena& activations,
                              const ForwardPass& forward) {
    static_cast<void>(activations);
    return forward(pass);
  }
  /// Draws tokens where the logits are, and waits. Only with gpu().
  virtual std::vector<std::int32_t> sample(const SampleRequest& request) {
    return std::vector<std::int32_t>(static_cast<std::size_t>(request.rows), 0);
  }
  /// Copies bytes of the device tier before the next pass reads them.
  virtual void copy(std::byte* to, const std::byte* from, Bytes size) {
    if (computes()) std::memcpy(to, from, static_cast<std::size_t>(size.n));
  }
  /// Copies between the device and the host, after what was computed before and before what is
  /// computed next.
  virtual void swap(void* to, const void* from, Bytes size, HostCopy) {
    copy(static_cast<std::byte*>(to), static_cast<const std::byte*>(from), size);
  }
  /// Null where copying beside computing is the work of a thread, or of nobody.
  virtual SideCopies* side_copies() { return nullptr; }
  /// A part of a pass as operations take it. Of a pass that run_pass brings there itself, as it is.
  virtual PassInput stage_part(const PassInput& part) { return part; }
  /// Null: weights are written straight into their tensors.
  virtual WeightUpload* upload() { return nullptr; }
  /// Copies bytes of a tensor for the CPU to read, and waits.
  virtual void read(void* to, const void* from, Bytes size) {
    std::memcpy(to, from, static_cast<std::size_t>(size.n));
  }
  /// Makes a virtual clock wait for what the stream would move; nothing where bytes do move.
  virtual void price(KvStream&) {}
  virtual void price(WeightStream&) {}
  virtual void price(HiddenStates&) {}
  /// Every operation from now on is added to `trace`, where a call waits for its result.
  virtual void trace_to(Trace*) {}
  /// What the operations took since the last call; empty where a call does not wait for its result.
  virtual OpTimings take_timings() { return {}; }
};

/// The host's memory, Eigen and our SIMD kernels, `threads` threads; capacity caps the device tier.
/// `linear_inputs`: see Decisions.
std::unique_ptr<Backend> make_cpu_backend(int threads, Bytes capacity,
                                          DType linear_inputs = DType::kI8);
/// Computes nothing; a device of any capacity and a clock driven by the card's op costs.
std::unique_ptr<Backend> make_dry_backend(const DeviceCard& card, const Decisions& decisions);

}  // namespace vramplan
