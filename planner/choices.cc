#include "planner/choices.h"

#include <algorithm>

#include "planner/activation_offload.h"
#include "planner/context_parallel.h"
#include "planner/kv_choices.h"
#include "planner/kv_residual.h"
#include "planner/op_work.h"
#include "planner/replicas.h"
#include "planner/runtime_overhead.h"
#include "planner/sharding.h"
#include "planner/speculation.h"
#include "planner/weight_mix.h"
#include "planner/weight_offload.h"

namespace vramplan {
namespace {

constexpr Tokens kDefaultContext{8192};
constexpr Tokens kDefaultOutput{128};
constexpr Tokens kDefaultChunkCpu{512}, kDefaultChunkGpu{8192};
constexpr std::int64_t kMostBatch = std::int64_t{1} << 31, kMostThreads = 4096;

class Chooser : private ChoiceList {
 public:
  Chooser(const ModelSource& source, const DeviceCard& device, const PlanRequest& request,
          Choices& out)
      : ChoiceList(out),
        source_(source),
        device_(device),
        request_(request),
        gpu_(device.kind != DeviceKind::kCpu),
        kv_(source, request, out) {}

  void run() {
    place();
    formats();
    lengths();
    speculation();
    check_activation_offload(source_.card, d());
    check_context_parallel(source_.card, d(), request_);
    check_replicas(d(), device_.kind != DeviceKind::kSram);
    about_model();
    about_device();
  }

 private:
  void place() {
    d().model = request_.model;
    d().set = request_.set;
    d().card_hash = card_hash(source_.card);
    d().device = request_.device.empty() ? device_.name : request_.device;
    d().sharding =
        choose_sharding(source_.card, device_,
                        {request_.count, request_.tp, request_.pp, request_.cp, request_.ep});
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
        refuse_choice("--capacity",
                      fmt::format("a capacity of {} B is not within the {} B of {}",
                                  request_.capacity->n, d().capacity.n, device_.name),
                      "give less than the device has, or another device");
      }
      d().capacity = *request_.capacity;
    }
    d().seed = request_.seed.value_or(0);
    d().replicas = request_.replicas.value_or(1);
    if (gpu_) return;
    const std::int64_t cores = std::clamp<std::int64_t>(
        device_.multiprocessors.value / std::max<std::int64_t>(1, d().replicas), 1, kMostThreads);
    const std::optional<std::int64_t> asked =
        request_.threads ? std::optional<std::int64_t>(*request_.threads) : std::nullopt;
    d().threads = static_cast<int>(number(asked, cores, "threads", "--threads", kMostThreads));
    // How lines scale with threads differs from operation to operation: they are not scaled.
    const std::int64_t timed = device_.multiprocessors.value;
    if (device_.op_costs.empty() || d().threads * d().replicas == timed) return;
    assume("times", fmt::format("those of {} threads, which the card was timed with", timed),
           "calibrate --threads");
  }

  void formats() {
    weights();
    d().activations = gpu_ ? DType::kBF16 : DType::kF32;
    d().kv_format = request_.kv_format.value_or(gpu_ ? KvFormat::kBF16 : KvFormat::kF16);
    if (!request_.kv_format) assume("KV cache format", name_of(d().kv_format), "--kv-cache-dtype");
    kv_.policy();
    kv_.layers();
    kv_.residual();
    kv_.layout();
    d().attention = request_.attention.value_or(AttentionAlgorithm::kTiled);
    if (!request_.attention) assume("attention", name_of(d().attention), "--attention");
    linear_inputs();
    kv_.placement();
    weight_placement();
    d().activation_offload = request_.activation_offload;
  }

  void weights() {
    d().weights = request_.weights;
    d().weight_layers = request_.weight_layers;
    settle_weight_layers(source_.card, d());
    if (!request_.weights) {
      const std::string stored = source_.stored.empty() ? info(source_.card.stored_weights).name
                                                        : "each tensor as in the file";
      assume("weights", "as stored: " + stored, "--weights");
    }
    const std::vector<DType> formats = weight_formats(d());
    if (source_.stored.empty() || formats.empty()) return;
    std::string to;
    for (const DType format : formats)
      to += (to.empty() ? "" : ", ") + std::string(info(format).name);
    assume(
        "weights at load",
        fmt::format("{} converted to {} by rounding; norms, biases and routers as in the file",
                    request_.weights ? "matrices, tables and the head" : "matrices of layers", to),
        request_.weights ? "--weights" : "--weight-layers");
    const auto twice =
        std::find_if(source_.stored.begin(), source_.stored.end(), [&](const StoredTensor& tensor) {
          return is_block_quantised(tensor.dtype) && tensor.rows > 1 &&
                 std::any_of(formats.begin(), formats.end(),
                             [&](DType format) { return format != tensor.dtype; });
        });
    if (twice == source_.stored.end()) return;
    assume("quantised twice",
           fmt::format("the file holds {} already: what that lost is not regained",
                       info(twice->dtype).name),
           "--weights");
  }

  /// How many layers' matrices live in host memory.
  void weight_placement() {
    if (request_.weight_offload_layers) d().weight_offload = *request_.weight_offload_layers;
    if (!request_.weight_offload) return;
    const double share = *request_.weight_offload;
    if (!(share > 0 && share < 1)) {
      refuse_choice("--weight-offload", fmt::format("a share of {} of the weights", share),
                    "give a share above 0 and below 1");
    }
    const std::int64_t layers = source_.card.layer_count() / d().sharding.pp;
    d().weight_offload = weight_offload_for(share, std::max<std::int64_t>(1, layers));
  }

  /// Whether fp8 inputs have something to meet, and a GPU that multiplies them.
  void fp8_inputs() {
    const auto& stored = source_.stored;
    const bool recoded = request_.weights.has_value() || stored.empty();
    const DType all = request_.weights.value_or(source_.card.stored_weights);
    const std::vector<DType> asked = weight_formats(d());
    const bool any = std::any_of(asked.begin(), asked.end(), takes_fp8_inputs) ||
                     (recoded ? takes_fp8_inputs(all)
                              : std::any_of(stored.begin(), stored.end(), [](const auto& tensor) {
                                  return takes_fp8_inputs(tensor.dtype);
                                }));
    if (!any) {
      refuse_choice("--linear-inputs", "fp8 inputs, and no fp8 weights with a scale a row to meet",
                    "--weights fp8, fp8-tensor or fp8-channel, or leave it out");
    }
    if (gpu_ && device_.flops_per_s.count(info(DType::kF8E4M3).name) == 0) {
      throw Error(ErrorCode::kUnsupported, "fp8 products on " + device_.name)
          .at(device_.name, "flops_per_s")
          .help("devices from compute capability 8.9 on have them; leave --linear-inputs out");
    }
    d().linear_inputs = DType::kF8E4M3;
    if (has_line("linear_fp8")) return;
    assume("time of linears with fp8 inputs",
           gpu_ ? "two kernels at the peak of fp8" : "that of wider inputs", "--linear-inputs");
  }

  /// How products with quantised weights read their inputs.
  void linear_inputs() {
    if (request_.linear_inputs == DType::kF8E4M3) return fp8_inputs();
    if (gpu_) {
      if (request_.linear_inputs) {
        refuse_choice("--linear-inputs",
                      "a GPU's products read their inputs as the activations are",
                      "leave it out, or fp8 with fp8 weights");
      }
      return;
    }
    d().linear_inputs = request_.linear_inputs.value_or(DType::kI8);
    if (d().linear_inputs != DType::kI8 && d().linear_inputs != DType::kF32) {
      refuse_choice("--linear-inputs",
                    fmt::format("linear inputs of format {}", info(d().linear_inputs).name),
                    "int8, f32 or fp8");
    }
    if (!request_.linear_inputs)
      assume("inputs of quantised linears", "8-bit codes", "--linear-inputs");
    else if (d().linear_inputs == DType::kF32 && !has_line("linear_f32"))
      assume("time of quantised linears", "that of f32 weights of their bytes", "--linear-inputs");
  }

  bool has_line(const char* op) const {
    return std::any_of(device_.op_costs.begin(), device_.op_costs.end(),
                       [&](const OpCost& cost) { return cost.op == op; });
  }

  void lengths() {
    const std::int64_t limit = source_.card.context_limit;
    const std::int64_t usual = limit > 0 ? std::min(limit, kDefaultContext.n) : kDefaultContext.n;
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    d().context = {number(raw(request_.context), usual, "context", "--context", kMost)};
    if (d().context < Tokens{2}) {
      refuse_choice("--context", "a context of one token leaves no room for a prompt and an answer",
                    "give at least 2 tokens");
    }
    const std::int64_t output = std::clamp<std::int64_t>(d().context.n / 2, 1, kDefaultOutput.n);
    d().output = {
        number(raw(request_.output), output, "generated tokens", "--output-tokens", kMost)};
    if (d().output >= d().context) {
      refuse_choice("--output-tokens",
                    fmt::format("{} generated tokens leave no prompt in a context of {}",
                                d().output.n, d().context.n),
                    "context counts prompt and output together");
    }
    const std::int64_t alone = std::clamp<std::int64_t>(kv_.asked_samples(), 1, kMostBatch);
    d().batch = number(request_.batch, alone, "sequences at the same time", "--batch", kMostBatch);
    Tokens chunk = gpu_ ? kDefaultChunkGpu : kDefaultChunkCpu;
    if (d().kv_residual.any())
      chunk = std::min(chunk, d().kv_residual.tokens - Tokens{kResidualBlock.n});
    d().prefill_chunk = {number(raw(request_.prefill_chunk), chunk.n, "tokens of a prefill pass",
                                "--prefill-chunk", kMost)};
    check_residual_chunk(d());
    kv_.lengths();
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

  void speculation() {
    if (!request_.guess || *request_.guess == Guess::kNone) return;
    constexpr double kUsualAcceptance = 0.6;
    GuessDecision& s = d().speculation;
    s.guess = *request_.guess;
    s.tokens = request_.guess_tokens.value_or(4);
    s.acceptance = request_.acceptance.value_or(kUsualAcceptance);
    if (s.guess == Guess::kDraft && source_.draft != nullptr) {
      s.draft = request_.draft;
      s.draft_hash = card_hash(source_.draft->card);
    }
    if (!request_.acceptance) {
      assume("guesses that are kept",
             fmt::format("{} of those whose predecessors were", kUsualAcceptance),
             "--speculate-acceptance");
    }
    if (request_.preempt && *request_.preempt != PreemptRequest::kNone) {
      d().preempt = Preempt::kSwap;  // whichever: it is refused
    }
    check_speculation(source_, d(), device_.kind);
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
    if (d().sharding.ep > 1) {
      assume("shared experts", "a pass waits for the rank that chance gives most rows", "--ep");
    }
    if (d().sharding.cp > 1) {
      assume("context parallel",
             "planned, not run: K and V go round the ranks in prefill, results in decode; no "
             "transfer hides behind computing",
             "--cp");
    }
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
    if (d().replicas > 1) {
      check("replica_base_bytes", device_.replica_base_bytes);
      assume("replicas", fmt::format("all {} compute at the same time", d().replicas),
             "--replicas");
    }
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
  KvChoices kv_;
};

}  // namespace

Choices make_choices(const ModelSource& source, const DeviceCard& device,
                     const PlanRequest& request) {
  Choices out;
  Chooser(source, device, request, out).run();
  return out;
}

}  // namespace vramplan
