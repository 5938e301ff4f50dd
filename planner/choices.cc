#include "planner/choices.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/activation_offload.h"
#include "planner/kv_cache.h"
#include "planner/kv_groups.h"
#include "planner/kv_offload.h"
#include "planner/kv_residual.h"
#include "planner/runtime_overhead.h"
#include "planner/sharding.h"
#include "planner/weight_offload.h"

namespace vramplan {
namespace {

constexpr Tokens kDefaultContext{8192};
constexpr Tokens kDefaultOutput{128};
constexpr Tokens kDefaultChunkCpu{512}, kDefaultChunkGpu{8192};
constexpr std::int64_t kDefaultBlock = 16;
constexpr std::int64_t kMostBatch = std::int64_t{1} << 31, kMostThreads = 4096,
                       kMostBlock = 1 << 20;

[[noreturn]] void refuse(const char* flag, const std::string& message, const std::string& fix) {
  throw Error(ErrorCode::kUsage, message).at("", flag).help(fix);
}

class Chooser {
 public:
  Chooser(const ModelSource& source, const DeviceCard& device, const PlanRequest& request)
      : source_(source),
        device_(device),
        request_(request),
        gpu_(device.kind != DeviceKind::kCpu) {}

  Choices run() {
    place();
    formats();
    lengths();
    about_model();
    about_device();
    return std::move(out_);
  }

 private:
  Decisions& d() { return out_.decisions; }

  void assume(std::string what, std::string value, const char* flag) {
    out_.assumptions.push_back({std::move(what), std::move(value), flag});
  }
  /// The request's value within [low, high], or the default, listed.
  std::int64_t number(const std::optional<std::int64_t>& asked, std::int64_t fallback,
                      const char* what, const char* flag, std::int64_t high) {
    if (!asked) {
      assume(what, std::to_string(fallback), flag);
      return fallback;
    }
    if (*asked < 1 || *asked > high) {
      refuse(flag, fmt::format("{} of {} is out of range", what, *asked),
             fmt::format("give a number from 1 to {}", high));
    }
    return *asked;
  }
  std::optional<std::int64_t> raw(const std::optional<Tokens>& tokens) const {
    return tokens ? std::optional<std::int64_t>(tokens->n) : std::nullopt;
  }

  void place() {
    d().model = request_.model;
    d().set = request_.set;
    d().card_hash = card_hash(source_.card);
    d().device = request_.device.empty() ? device_.name : request_.device;
    d().sharding = choose_sharding(source_.card, device_, request_.count, request_.tp, request_.pp);
    d().device_count = d().sharding.ranks();
    if (!request_.count && !request_.tp && !request_.pp) assume("devices", "1", "--count");
    if (request_.count && !request_.tp && !request_.pp && *request_.count > 1) {
      assume("sharding",
             fmt::format(
                 "tp {} x pp {}: the widest even split within a node (one machine before many)",
                 d().sharding.tp, d().sharding.pp),
             "--tp, --pp");
    }
    d().capacity = {device_.capacity_bytes.value};
    if (request_.capacity) {
      if (request_.capacity->n < 1 || *request_.capacity > d().capacity) {
        refuse("--capacity",
               fmt::format("a capacity of {} B is not within the {} B of {}", request_.capacity->n,
                           d().capacity.n, device_.name),
               "give less than the device has, or another device");
      }
      d().capacity = *request_.capacity;
    }
    d().seed = request_.seed.value_or(0);
    if (gpu_) return;
    const std::int64_t cores =
        std::clamp<std::int64_t>(device_.multiprocessors.value, 1, kMostThreads);
    const std::optional<std::int64_t> asked =
        request_.threads ? std::optional<std::int64_t>(*request_.threads) : std::nullopt;
    d().threads = static_cast<int>(number(asked, cores, "threads", "--threads", kMostThreads));
  }

  void formats() {
    d().weights = request_.weights;
    if (!request_.weights) {
      const std::string stored = source_.stored.empty() ? info(source_.card.stored_weights).name
                                                        : "each tensor as in the file";
      assume("weights", "as stored: " + stored, "--weights");
    } else if (!source_.stored.empty()) {
      assume("weights",
             fmt::format("all matrices recoded to {}; the file stores other formats",
                         info(*request_.weights).name),
             "--weights");
    }
    d().activations = gpu_ ? DType::kBF16 : DType::kF32;
    d().kv_format = request_.kv_format.value_or(gpu_ ? KvFormat::kBF16 : KvFormat::kF16);
    if (!request_.kv_format) assume("KV cache format", name_of(d().kv_format), "--kv-cache-dtype");
    policy();
    residual();
    layout();
    d().attention = request_.attention.value_or(AttentionAlgorithm::kTiled);
    if (!request_.attention) assume("attention", name_of(d().attention), "--attention");
    linear_inputs();
    placement();
    weight_placement();
    d().activation_offload = request_.activation_offload;
    check_activation_offload(source_.card, d());
  }

  /// Where the cache lives, and how much of it stays on the device.
  void placement() {
    d().kv_placement = request_.kv_placement.value_or(KvPlacement::kDevice);
    if (d().kv_placement == KvPlacement::kDevice) {
      if (!request_.kv_offload) return;
      refuse("--kv-offload", "a share of the cache leaves the device, but for where?",
             "add --kv-placement host or disk");
    }
    if (request_.kv_offload && !(*request_.kv_offload > 0 && *request_.kv_offload < 1)) {
      refuse("--kv-offload", fmt::format("a share of {} of the cache", *request_.kv_offload),
             "give a share above 0 and below 1");
    }
    if (request_.kv_offload_layers) {
      d().kv_offload = *request_.kv_offload_layers;
      return;
    }
    const std::int64_t layers =
        std::max<std::int64_t>(1, source_.card.layer_count() / d().sharding.pp);
    d().kv_offload = request_.kv_offload ? kv_offload_for(*request_.kv_offload, layers)
                                         : widest_kv_offload(layers);
    if (request_.kv_offload) return;
    assume("cache beyond the device",
           fmt::format("all layers, {} at a time on the device", d().kv_offload.staging),
           "--kv-offload");
  }

  /// How many layers' matrices live in host memory.
  void weight_placement() {
    if (request_.weight_offload_layers) d().weight_offload = *request_.weight_offload_layers;
    if (!request_.weight_offload) return;
    const double share = *request_.weight_offload;
    if (!(share > 0 && share < 1)) {
      refuse("--weight-offload", fmt::format("a share of {} of the weights", share),
             "give a share above 0 and below 1");
    }
    const std::int64_t layers = source_.card.layer_count() / d().sharding.pp;
    d().weight_offload = weight_offload_for(share, std::max<std::int64_t>(1, layers));
  }

  /// The newest tokens in f16 beside a history of fewer bits or fewer tokens.
  void residual() {
    check_residual_request(source_.card, d(), request_);
    if (!takes_residual(d())) return;
    constexpr std::int64_t kMost = std::int64_t{1} << 30;
    KvResidual& out = d().kv_residual;
    out.tokens = {number(raw(request_.kv_residual), usual_residual(d()).tokens.n,
                         "newest KV tokens kept in f16", "--kv-residual", kMost)};
    if (d().kv_policy == KvPolicy::kStrided) {
      out.stride = number(request_.kv_stride, usual_residual(d()).stride,
                          "stride of older KV tokens", "--kv-stride", kResidualBlock.n);
    }
    check_residual(out);
  }

  void layout() {
    d().kv_layout = request_.kv_layout.value_or(KvLayout::kPaged);
    if (d().kv_layout == KvLayout::kPaged) {
      const std::int64_t step = residual_step(d().kv_residual);
      d().block = {number(request_.block_tokens, std::max(step, kDefaultBlock),
                          "tokens of a KV block", "--block-size", kMostBlock)};
      if (d().block.n % step != 0) {
        refuse("--block-size",
               fmt::format("blocks of {} tokens: {} rows leave the residual window together",
                           d().block.n, step),
               fmt::format("give a multiple of {}", step));
      }
      return;
    }
    if (request_.block_tokens) {
      refuse("--block-size", "a contiguous cache is one block a sequence, as long as its context",
             "leave it out, or --kv-layout paged");
    }
    if (d().kv_policy != KvPolicy::kKeepAll) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("a contiguous cache gives nothing back, and the KV policy {} does",
                              name_of(d().kv_policy)))
          .at("", "--kv-layout")
          .help("--kv-policy keep_all, or --kv-layout paged");
    }
  }

  /// Sequences that share blocks: samples of a prompt, or prompts that begin alike.
  void sharing() {
    const std::int64_t samples = request_.samples.value_or(1);
    const std::int64_t prefix = request_.shared_prefix.value_or(Tokens{}).n;
    if (samples < 1 || d().batch % samples != 0) {
      refuse("--samples",
             fmt::format("{} samples of each prompt in a batch of {}", samples, d().batch),
             "--batch counts all sequences; give a multiple of the samples");
    }
    if (prefix < 0) refuse("--shared-prefix", "a prefix of less than no tokens", "give 0 or more");
    d().samples = samples;
    d().shared_prefix = {prefix};
    if (samples == 1 && prefix == 0) return;
    const char* const flag = samples > 1 ? "--samples" : "--shared-prefix";
    const auto unsupported = [&](const char* why) {
      throw Error(ErrorCode::kUnsupported, fmt::format("shared blocks with {}", why)).at("", flag);
    };
    if (samples > 1 && prefix > 0) unsupported("both samples and a shared prefix");
    if (d().kv_layout == KvLayout::kContiguous) unsupported("a contiguous cache");
    if (d().kv_policy != KvPolicy::kKeepAll) unsupported("a KV policy that gives blocks back");
    if (d().kv_residual.any()) unsupported("a residual window");
  }

  /// How a CPU's products with block-quantised weights read their inputs.
  void linear_inputs() {
    if (gpu_) {
      if (request_.linear_inputs) {
        refuse("--linear-inputs", "a GPU's products read their inputs as the activations are",
               "leave it out");
      }
      return;
    }
    d().linear_inputs = request_.linear_inputs.value_or(DType::kI8);
    if (d().linear_inputs != DType::kI8 && d().linear_inputs != DType::kF32) {
      refuse("--linear-inputs",
             fmt::format("linear inputs of format {}", info(d().linear_inputs).name),
             "int8 or f32");
    }
    if (!request_.linear_inputs)
      assume("inputs of quantised linears", "8-bit codes", "--linear-inputs");
    else if (d().linear_inputs == DType::kF32)
      assume("time of quantised linears", "that of f32 weights of their bytes", "--linear-inputs");
  }

  /// A windowed layer reads its window only, so that is what it keeps until more is asked for.
  void policy() {
    const bool windowed =
        std::any_of(source_.card.layers.begin(), source_.card.layers.end(),
                    [](const Layer& layer) { return layer.mixer.window_tokens > 0; });
    if (request_.kv_policy == KvPolicy::kSinkWindow) return sink_window(windowed);
    for (const auto& [asked, flag] : {std::pair(request_.kv_sinks, "--kv-sinks"),
                                      std::pair(request_.kv_window, "--kv-window")}) {
      if (asked)
        refuse(flag, "only the KV policy sink_window has sinks and a window to choose",
               "add --kv-policy sink_window");
    }
    if (request_.kv_policy == KvPolicy::kStrided) {
      d().kv_policy = KvPolicy::kStrided;  // residual() refuses what does not go with it
      if (!request_.kv_format) {
        d().kv_format = KvFormat::kFp8;
        for (Assumption& assumption : out_.assumptions)
          if (assumption.flag == "--kv-cache-dtype") assumption.value = name_of(KvFormat::kFp8);
      }
      return;
    }
    if (!windowed) return;
    d().kv_policy = request_.kv_policy.value_or(KvPolicy::kWindow);
    if (request_.kv_policy) return;
    assume("sliding-window layers", "keep their window and a chunk", "--kv-policy");
  }

  /// Sinks and a window for every layer, or what stands in the way. Source of the default: four
  /// sinks suffice, Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks".
  void sink_window(bool windowed) {
    const auto unsupported = [&](const char* why) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("the KV policy sink_window does not suit {}: {}", source_.card.name, why))
          .at("", "--kv-policy")
          .help("keep_all or window");
    };
    if (windowed) unsupported("some of its layers have windows of their own");
    if (source_.card.position == PositionKind::kLearned) {
      unsupported("its positions are learned rows, which cannot move with a window");
    }
    for (const Layer& layer : source_.card.layers) {
      if (layer.mixer.kind == MixerKind::kFullAttention) continue;
      unsupported("it has layers without a cache of keys and values");
    }
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    d().kv_policy = KvPolicy::kSinkWindow;
    d().kv_keep.sinks = request_.kv_sinks.value_or(Tokens{4});
    if (!request_.kv_sinks) assume("sink tokens", "4", "--kv-sinks");
    if (d().kv_keep.sinks.n < 0 || d().kv_keep.sinks.n > kMost) {
      refuse("--kv-sinks", fmt::format("{} sink tokens are out of range", d().kv_keep.sinks.n),
             "give 0 (a plain window) or more");
    }
    d().kv_keep.window = {
        number(raw(request_.kv_window), 1024, "tokens of the window", "--kv-window", kMost)};
  }

  void lengths() {
    const std::int64_t limit = source_.card.context_limit;
    const std::int64_t usual = limit > 0 ? std::min(limit, kDefaultContext.n) : kDefaultContext.n;
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    d().context = {number(raw(request_.context), usual, "context", "--context", kMost)};
    if (d().context < Tokens{2}) {
      refuse("--context", "a context of one token leaves no room for a prompt and an answer",
             "give at least 2 tokens");
    }
    const std::int64_t output = std::clamp<std::int64_t>(d().context.n / 2, 1, kDefaultOutput.n);
    d().output = {
        number(raw(request_.output), output, "generated tokens", "--output-tokens", kMost)};
    if (d().output >= d().context) {
      refuse("--output-tokens",
             fmt::format("{} generated tokens leave no prompt in a context of {}", d().output.n,
                         d().context.n),
             "context counts prompt and output together");
    }
    d().batch = number(request_.batch, 1, "sequences at the same time", "--batch", kMostBatch);
    Tokens chunk = gpu_ ? kDefaultChunkGpu : kDefaultChunkCpu;
    if (d().kv_residual.any())
      chunk = std::min(chunk, d().kv_residual.tokens - Tokens{kResidualBlock.n});
    d().prefill_chunk = {number(raw(request_.prefill_chunk), chunk.n, "tokens of a prefill pass",
                                "--prefill-chunk", kMost)};
    check_residual_chunk(d());
    if (d().kv_layout == KvLayout::kContiguous) d().block = {d().context.n};
    sharing();
    d().kv_blocks = kv_blocks(d());
    d().kv_residual.blocks = residual_blocks(d());
    d().window_pools = window_pools(source_.card, d());
    if (d().kv_policy == KvPolicy::kSinkWindow) {
      assume("positions",
             fmt::format("places among the {} tokens kept: distances never exceed them",
                         (d().kv_keep.sinks + d().kv_keep.window).n),
             "--kv-window");
    } else if (limit > 0 && d().context.n > limit) {
      assume("context beyond the model",
             fmt::format("{} tokens; {} was made for {}: bytes are right, answers may not be",
                         d().context.n, source_.card.name, limit),
             "--context");
    }
  }

  void about_model() {
    bool moe = false;
    for (const Layer& layer : source_.card.layers) {
      moe = moe || layer.feed_forward.kind == FeedForwardKind::kMoe;
    }
    if (source_.card.mtp_layers > 0 && !source_.card.mtp_loaded) {
      assume("layers that predict further tokens",
             fmt::format("{} in the checkpoint, not loaded", source_.card.mtp_layers),
             "--set mtp_loaded=true");
    }
    packed_weights();
    if (moe)
      assume("experts", "all resident; tokens routed evenly (time), all at once (activations)",
             "none");
    if (d().sharding.pp > 1) {
      assume("pipeline", "stages work one after another: no micro-batches", "--pp");
    }
    if (source_.card.evidence == "assumed") {
      assume("model card", source_.card.name + " holds assumed values", "--set");
    }
  }

  void packed_weights() {
    const DType dtype = d().weights.value_or(source_.card.stored_weights);
    if (packed_rule(dtype) == nullptr || !source_.stored.empty()) return;
    assume("unquantised beside " + std::string(info(dtype).name),
           "token table, head, norms, biases, routers, convolutions", "--weights");
  }

  /// Values of the device card that nobody measured or read in a data sheet.
  void about_device() {
    const auto check = [&](const char* field, const auto& sourced) {
      if (sourced.value == 0 || sourced.evidence != Evidence::kAssumed) return;
      assume(fmt::format("{} of {}", field, device_.name), fmt::format("{}", sourced.value),
             "--device");
    };
    check("capacity_bytes", device_.capacity_bytes);
    check("memory_bytes_per_s", device_.memory_bytes_per_s);
    check("memory_efficiency", device_.memory_efficiency);
    check("compute_efficiency", device_.compute_efficiency);
    check("launch_s", device_.launch_s);
    check("process_base_bytes", device_.process_base_bytes);
    if (!gpu_) return;
    check("context_bytes", device_.context_bytes);
    check("module_bytes", device_.module_bytes);
    check("workspace_bytes", device_.workspace_bytes);
    if (d().output.n >= 3) check("graph_node_bytes", device_.graph_node_bytes);
    if (d().device_count > 1) check("comm_bytes", device_.comm_bytes);
  }

  const ModelSource& source_;
  const DeviceCard& device_;
  const PlanRequest& request_;
  bool gpu_;
  Choices out_;
};

}  // namespace

Choices make_choices(const ModelSource& source, const DeviceCard& device,
                     const PlanRequest& request) {
  return Chooser(source, device, request).run();
}

}  // namespace vramplan
