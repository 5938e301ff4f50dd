#include "planner/advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/kv_cache.h"
#include "planner/sharding.h"
#include "planner/text.h"

namespace vramplan {
namespace {

constexpr int kMostDevices = 64;
constexpr std::size_t kMostSentences = 6;

class Adviser {
 public:
  Adviser(const ModelSource& source, const DeviceCard& device, const Decisions& decisions,
          const TokenizerTables& tables, const std::vector<StageAccount>& stages,
          const Capacity& capacity)
      : source_(source),
        device_(device),
        decisions_(decisions),
        tables_(tables),
        stages_(stages),
        capacity_(capacity),
        peak_(largest_peak(stages, decisions, device.kind)) {}

  std::vector<std::string> run() {
    if (peak_ <= decisions_.capacity)
      spare();
    else
      make_it_fit();
    std::vector<std::string> out = std::move(enough_);
    for (std::string& text : not_enough_) out.push_back(std::move(text));
    if (out.size() > kMostSentences) out.resize(kMostSentences);
    return out;
  }

 private:
  /// The fullest rank with other decisions; empty when they cannot be (a format that does not
  /// divide).
  std::optional<Bytes> peak_with(const Decisions& changed) const {
    try {
      return largest_peak(stage_accounts(source_, device_, changed, tables_), changed,
                          device_.kind);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInternal) throw;
      return std::nullopt;
    }
  }

  void weigh(const Decisions& changed, const std::string& change) {
    const std::optional<Bytes> peak = peak_with(changed);
    if (!peak || *peak >= peak_) return;
    const bool fits = *peak <= decisions_.capacity;
    const Bytes saved = peak_ - *peak;
    auto& list = fits ? enough_ : not_enough_;
    list.push_back(fmt::format(
        "{}: saves {} ({}) a rank{}", change, to_text(saved), exact(saved),
        fits ? " and fits"
             : fmt::format("; still {} too much", to_text(*peak - decisions_.capacity))));
  }

  void make_it_fit() {
    if (capacity_.max_sequences > 0 && capacity_.max_sequences < decisions_.batch) {
      weigh(with_batch(decisions_, capacity_.max_sequences),
            fmt::format("--batch {} instead of {}", capacity_.max_sequences, decisions_.batch));
    }
    if (capacity_.max_context.n >= 2) {
      weigh(
          with_context(decisions_, capacity_.max_context),
          fmt::format("--context {} instead of {}", capacity_.max_context.n, decisions_.context.n));
    }
    if (decisions_.kv_format == KvFormat::kF32) {
      Decisions changed = decisions_;
      changed.kv_format = KvFormat::kF16;
      weigh(changed, "--kv-cache-dtype f16");
    }
    if (decisions_.attention == AttentionAlgorithm::kNaive) {
      Decisions changed = decisions_;
      changed.attention = AttentionAlgorithm::kTiled;
      weigh(changed, "--attention tiled");
    }
    smaller_chunk();
    smaller_weights();
    more_devices();
    if (decisions_.capacity.n < device_.capacity_bytes.value &&
        peak_.n <= device_.capacity_bytes.value) {
      enough_.push_back(fmt::format("--capacity {}: {} has {}", peak_.n, device_.name,
                                    to_text(Bytes{device_.capacity_bytes.value})));
    }
  }

  void smaller_chunk() {
    Decisions changed = decisions_;
    changed.prefill_chunk = {std::max<std::int64_t>(1, decisions_.prefill_chunk.n / 4)};
    const std::optional<Bytes> peak = peak_with(changed);
    // Worth a sentence only when it does the job: the price is a slower prefill.
    if (!peak || *peak > decisions_.capacity) return;
    weigh(changed, fmt::format("--prefill-chunk {} (slower prefill)", changed.prefill_chunk.n));
  }

  void smaller_weights() {
    for (const DType dtype :
         {DType::kF16, DType::kF8E4M3, DType::kI8, DType::kQ8_0, DType::kQ4_K, DType::kQ4_0}) {
      if (decisions_.weights == dtype) continue;
      Decisions changed = decisions_;
      changed.weights = dtype;
      const std::size_t before = enough_.size();
      weigh(changed, fmt::format("--weights {}", info(dtype).name));
      if (enough_.size() > before) return;  // the mildest format that suffices
    }
  }

  bool fits_on(int count) const {
    try {
      Decisions changed = decisions_;
      changed.sharding = choose_sharding(source_.card, device_, {count, {}, {}, {}, {}});
      changed.device_count = count;
      const std::optional<Bytes> peak = peak_with(changed);
      return peak && *peak <= decisions_.capacity;
    } catch (const Error&) {
      return false;  // no even split for this count
    }
  }

  void more_devices() {
    if (device_.kind == DeviceKind::kCpu) return;
    for (int count = decisions_.device_count + 1; count <= kMostDevices; ++count) {
      if (!fits_on(count)) continue;
      const std::int64_t node = device_.devices_per_node.value;
      const char* where = node > 0 && count > node ? "more than one machine" : "one machine";
      enough_.push_back(
          fmt::format("--count {}: the fewest devices that hold it ({})", count, where));
      return;
    }
  }

  void spare() {
    const Bytes left = decisions_.capacity - peak_;
    const std::int64_t used = decisions_.kv_blocks.n * decisions_.block.n * decisions_.sharding.cp;
    enough_.push_back(fmt::format(
        "spare {} ({}): holds {} more tokens, as one context of {} or {} sequences of {}",
        to_text(left), exact(left),
        grouped(std::max<std::int64_t>(0, capacity_.kv_tokens.n - used)),
        grouped(capacity_.max_context.n), grouped(capacity_.max_sequences),
        grouped(decisions_.context.n)));
    for (int count = 1; count < decisions_.device_count; ++count) {
      if (!fits_on(count)) continue;
      enough_.push_back(
          fmt::format("--count {}: fits on fewer devices (one card before many)", count));
      break;
    }
    const std::int64_t node = device_.devices_per_node.value;
    if (node > 0 && decisions_.device_count > node) {
      enough_.push_back(
          fmt::format("{} devices are more than one machine of {}: one machine before many",
                      decisions_.device_count, node));
    }
    if (decisions_.weights != DType::kF8E4M3) lighter_weights();
  }

  void lighter_weights() {
    Decisions changed = decisions_;
    changed.weights = DType::kF8E4M3;
    const std::optional<Bytes> peak = peak_with(changed);
    BytesPerToken per_token;
    for (const StageAccount& stage : stages_) per_token = std::max(per_token, stage.kv_per_token);
    if (!peak || *peak >= peak_ || per_token.n == 0) return;
    const Bytes saved = peak_ - *peak;
    enough_.push_back(fmt::format("--weights fp8: frees {} ({}) a rank, room for {} more tokens",
                                  to_text(saved), exact(saved), grouped(saved.n / per_token.n)));
  }

  const ModelSource& source_;
  const DeviceCard& device_;
  const Decisions& decisions_;
  const TokenizerTables& tables_;
  const std::vector<StageAccount>& stages_;
  const Capacity& capacity_;
  Bytes peak_;
  std::vector<std::string> enough_, not_enough_;
};

}  // namespace

std::vector<std::string> advise(const ModelSource& source, const DeviceCard& device,
                                const Decisions& decisions, const TokenizerTables& tables,
                                const std::vector<StageAccount>& stages, const Capacity& capacity) {
  return Adviser(source, device, decisions, tables, stages, capacity).run();
}

}  // namespace vramplan
