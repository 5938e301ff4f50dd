#include "planner/latency.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/activation_offload.h"
#include "planner/kv_cache.h"
#include "planner/kv_mix.h"
#include "planner/kv_offload.h"
#include "planner/replicas.h"
#include "planner/speculation.h"
#include "planner/weight_offload.h"

namespace vramplan {
namespace {

const OpCost* find_cost(const DeviceCard& device, OpKind op, DType dtype) {
  const OpCost* any = nullptr;
  for (const OpCost& cost : device.op_costs) {
    if (cost.op != name_of(op)) continue;
    if (cost.dtype == info(dtype).name) return &cost;
    if (cost.dtype == "any") any = &cost;
  }
  if (any != nullptr) return any;
  // A card may have one line for all linears,
  if (op == OpKind::kLinearDecode) return find_cost(device, OpKind::kLinear, dtype);
  if (op == OpKind::kSampleBeams) return find_cost(device, OpKind::kSample, dtype);
  // none for unrounded inputs: then as f32 weights of their bytes would take;
  const bool decode = op == OpKind::kLinearF32Decode;
  if (decode || op == OpKind::kLinearF32) {
    return find_cost(device, decode ? OpKind::kLinearDecode : OpKind::kLinear, DType::kF32);
  }
  // none for fp8 inputs: weights set the pace of few tokens, and a CPU multiplies in f32 anyway;
  if (op == OpKind::kLinearFp8Decode) return find_cost(device, OpKind::kLinearDecode, dtype);
  if (op == OpKind::kLinearFp8) {
    return device.kind == DeviceKind::kCpu ? find_cost(device, OpKind::kLinear, dtype) : nullptr;
  }
  // none for what lies behind a residual window: as over one cache of its format;
  if (op == OpKind::kAttentionHistoryDecode)
    return find_cost(device, OpKind::kAttentionDecode, dtype);
  if (op == OpKind::kAttentionHistoryPrefill)
    return find_cost(device, OpKind::kAttentionPrefill, dtype);
  // and none for attention that adds up what blocks get: a CPU's kernels take the way of several
  // queries then, whatever their number.
  const bool one = op == OpKind::kAttentionMassDecode;
  if (one && device.kind != DeviceKind::kCpu) {
    return find_cost(device, OpKind::kAttentionDecode, dtype);
  }
  const bool mass = one || op == OpKind::kAttentionMassPrefill;
  return mass ? find_cost(device, OpKind::kAttentionPrefill, dtype) : nullptr;
}

double positive_or_one(const Sourced<double>& share) { return share.value > 0 ? share.value : 1.0; }

double peak_flops(const DeviceCard& device, DType compute) {
  const auto find = [&](const char* name) {
    const auto found = device.flops_per_s.find(name);
    return found == device.flops_per_s.end() ? 0.0 : found->second.value;
  };
  double peak = find(info(compute).name);
  if (peak <= 0 && compute == DType::kBF16) peak = find("f16");
  if (peak <= 0 && compute == DType::kF16) peak = find("bf16");
  if (peak <= 0) peak = find("f32");
  if (peak <= 0) missing_in_card(device, "flops_per_s");
  return peak;
}

bool is_collective(OpKind op) {
  return op == OpKind::kAllReduce || op == OpKind::kAllGather || op == OpKind::kSend;
}

/// Seconds of one phase, by operation.
class TermTable {
 public:
  void add(const DeviceCard& device, const std::vector<OpWork>& works) {
    for (const OpWork& work : works) add(term_name(work), op_time(device, work));
    const Seconds between = between_seconds(device, between_work(works).calls);
    if (between.v > 0) add("between", OpTime{between, {}, {}, {}});
  }
  void add_stall(const std::string& name, Seconds seconds) {
    OpTime time;
    time.link = seconds;
    add(name, time);
  }
  Seconds total() const {
    Seconds sum;
    for (const auto& [name, time] : terms_) sum += time.total();
    return sum;
  }
  std::string limited_by() const {
    OpTime sum;
    for (const auto& [name, time] : terms_) accumulate(sum, time);
    return largest(sum);
  }
  /// Longest first.
  std::vector<TimeTerm> terms() const {
    std::vector<TimeTerm> out;
    for (const auto& [name, time] : terms_) out.push_back({name, time.total(), largest(time)});
    std::stable_sort(out.begin(), out.end(),
                     [](const TimeTerm& a, const TimeTerm& b) { return a.seconds > b.seconds; });
    return out;
  }

 private:
  static std::string term_name(const OpWork& work) {
    const std::string name = name_of(work.op == OpKind::kSampleBeams ? OpKind::kSample : work.op);
    const bool linear = name.compare(0, 6, "linear") == 0;
    return linear ? fmt::format("linear {}", info(work.dtype).name) : name;
  }
  static void accumulate(OpTime& sum, const OpTime& time) {
    sum.launch += time.launch;
    sum.memory += time.memory;
    sum.compute += time.compute;
    sum.link += time.link;
  }
  static const char* largest(const OpTime& time) {
    const Seconds most = std::max({time.launch, time.memory, time.compute, time.link});
    if (most == time.memory) return "memory bandwidth";
    if (most == time.compute) return "compute";
    return most == time.launch ? "launch" : "link";
  }
  void add(const std::string& name, const OpTime& time) {
    for (auto& [known, sum] : terms_) {
      if (known == name) return accumulate(sum, time);
    }
    terms_.emplace_back(name, time);
  }
  std::vector<std::pair<std::string, OpTime>> terms_;
};

}  // namespace

OpTime op_time(const DeviceCard& device, const OpWork& work) {
  OpTime time;
  const double calls = static_cast<double>(work.calls);
  const bool collective = is_collective(work.op);
  Seconds& bytes_share = collective ? time.link : time.memory;
  if (const OpCost* cost = find_cost(device, work.op, work.dtype)) {
    time.launch.v = calls * cost->call_s;
    if (cost->bytes_per_s > 0) bytes_share.v = work.bytes / cost->bytes_per_s;
    if (cost->flops_per_s > 0) time.compute.v = work.flops / cost->flops_per_s;
    return time;
  }
  if (collective) {
    const Link link = link_between(device, work.ranks);
    if (link.bytes_per_s.value <= 0) missing_in_card(device, "links.bytes_per_s");
    time.link.v = calls * link.latency_s.value + work.bytes / link.bytes_per_s.value;
    return time;
  }
  if (device.memory_bytes_per_s.value <= 0) missing_in_card(device, "memory_bytes_per_s");
  const bool gpu = device.kind == DeviceKind::kGpu;
  const double kernels = gpu ? static_cast<double>(gpu_kernels_of(work.op)) : 1;
  time.launch.v = calls * kernels * device.launch_s.value;
  time.memory.v =
      work.bytes / (device.memory_bytes_per_s.value * positive_or_one(device.memory_efficiency));
  if (work.flops > 0) {
    time.compute.v = work.flops / (peak_flops(device, work.compute) *
                                   positive_or_one(device.compute_efficiency));
  }
  return time;
}

Seconds op_seconds(const DeviceCard& device, const OpWork& work) {
  return op_time(device, work).total();
}

Seconds between_seconds(const DeviceCard& device, std::int64_t calls) {
  const OpCost* const cost = find_cost(device, OpKind::kBetween, DType::kF32);
  return {cost == nullptr ? 0 : cost->call_s * static_cast<double>(calls)};
}

Seconds work_seconds(const DeviceCard& device, const std::vector<OpWork>& works) {
  Seconds sum = between_seconds(device, between_work(works).calls);
  for (const OpWork& work : works) sum += op_seconds(device, work);
  return sum;
}

Seconds decode_floor(Bytes bytes, BytesPerSecond rate) { return bytes / rate; }

Bytes decode_bytes(const RankModel& model, const Decisions& decisions, Tokens whole) {
  const Tokens context{decisions.sharding.share(whole.n)};
  Bytes bytes;
  const bool tied_here = std::none_of(model.outside.begin(), model.outside.end(),
                                      [](const WeightTensor& t) { return t.part == Part::kHead; });
  for (const WeightTensor& tensor : model.outside) {
    const bool table = tensor.part == Part::kPositions || tensor.group == "encoder" ||
                       (tensor.part == Part::kEmbedding && !(tied_here && model.shape.head));
    if (!table) bytes += tensor.bytes();
  }
  for (const LayerKind& kind : model.kinds) {
    const FeedForward& ff = kind.layer.feed_forward;
    for (const WeightTensor& tensor : kind.tensors) {
      const bool expert = tensor.part == Part::kExpertGate || tensor.part == Part::kExpertUp ||
                          tensor.part == Part::kExpertDown;
      // One token needs its own experts; a batch may be sent to the same ones.
      const std::int64_t here = kind.shape.experts;
      const std::int64_t own = ceil_div(ff.experts_per_token, model.shape.ep);
      const std::int64_t reached = expert ? std::min(here, own) : 1;
      const Bytes one = expert ? Bytes{tensor.bytes().n / here} : tensor.bytes();
      bytes += one * reached * kind.count;
    }
    const KvKeep keep = keep_of(decisions, kind.layer.mixer.window_tokens);
    const std::int64_t window =
        keep.all() ? kind.layer.mixer.window_tokens : (keep.sinks + keep.window + keep.budget).n;
    const Tokens read = window > 0 ? std::min(context, Tokens{window}) : context;
    const KvResidual& residual = decisions.kv_residual;
    const KvEncoding encoding = kind.encoding(decisions);
    const bool apart = has_window(decisions, encoding.format);
    const Tokens packed = apart ? packed_tokens(read, residual.tokens) : read;
    const Tokens kept{packed.n / (apart ? residual.stride : 1)};
    bytes += kv_bytes_per_token(kind.shape, encoding) * kind.count * (kept * decisions.batch);
    if (apart) {
      bytes += kv_bytes_per_token(kind.shape, KvFormat::kF16) * kind.count *
               ((read - packed) * decisions.batch);
    }
    bytes += linear_state_bytes(kind.layer.mixer.linear, kind.shape, decisions.activations) *
             kind.count * decisions.batch;
  }
  return bytes;
}

namespace {

struct StreamedPass {
  PassWork work;
  std::int64_t fetched = 0, written = 0;  // blocks of a layer
};

/// Computing of one layer of a pass, and of what is outside of layers.
struct PassSeconds {
  Seconds layer, rest;
};
PassSeconds pass_seconds(const RankModel& stage, const Decisions& decisions,
                         const DeviceCard& device, const PassWork& pass) {
  const PassWork headless{pass.tokens, 0, pass.sequences, pass.kv_length};
  const Seconds all = work_seconds(device, forward_work(stage, decisions, pass, device.kind));
  const Seconds layers =
      work_seconds(device, forward_work(stage, decisions, headless, device.kind));
  const std::size_t count = std::max<std::size_t>(1, stage.kind_of_layer.size());
  return {{layers.v / static_cast<double>(count)}, all - layers};
}

/// What a pass waits for blocks beyond the device.
Seconds stream_stall(const RankModel& stage, const Decisions& decisions, const DeviceCard& device,
                     const StreamedPass& pass) {
  const Link link = far_link(device, decisions.kv_placement);
  const PassSeconds seconds = pass_seconds(stage, decisions, device, pass.work);
  return kv_stream_stall(
      kv_offload_bytes(stage, decisions), decisions, pass.fetched, pass.written,
      {seconds.layer, seconds.rest, link, far_speeds(device, decisions.kv_placement)});
}

/// What passes that go through each layer together wait for matrices in host memory.
Seconds weight_stall(const RankModel& stage, const Decisions& decisions, const DeviceCard& device,
                     const std::vector<PassWork>& passes) {
  const Link link = far_link(device, KvPlacement::kHost);
  PassSeconds seconds;
  for (const PassWork& pass : passes) {
    const PassSeconds one = pass_seconds(stage, decisions, device, pass);
    seconds.layer += one.layer;
    seconds.rest += one.rest;
  }
  return weight_stream_stall(stage, decisions,
                             {seconds.layer, seconds.rest, link.bytes_per_s.value,
                              link.latency_s.value, far_speeds(device, KvPlacement::kHost)});
}

/// The passes of one prompt, chunk by chunk.
template <class Visit>
void for_each_chunk(const Decisions& decisions, Visit visit) {
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  for (std::int64_t begin = 0; begin < prompt; begin += decisions.prefill_chunk.n) {
    const std::int64_t end = std::min(begin + decisions.prefill_chunk.n, prompt);
    visit(begin, end, PassWork{end - begin, end == prompt ? 1 : 0, 1, end, true});
  }
}

}  // namespace

Seconds decode_weight_stall(const RankModel& stage, const Decisions& decisions,
                            const DeviceCard& device, const PassWork& step) {
  return weight_stall(stage, decisions, device, {step});
}

/// Of one prompt: chunk by chunk, or once when prefill goes layer by layer.
Seconds prefill_weight_stall(const RankModel& stage, const Decisions& decisions,
                             const DeviceCard& device) {
  std::vector<PassWork> chunks;
  for_each_chunk(decisions,
                 [&](std::int64_t, std::int64_t, const PassWork& work) { chunks.push_back(work); });
  if (decisions.activation_offload) return weight_stall(stage, decisions, device, chunks);
  Seconds stall;
  for (const PassWork& chunk : chunks) stall += weight_stall(stage, decisions, device, {chunk});
  return stall;
}

Seconds decode_stall(const RankModel& stage, const Decisions& decisions, const DeviceCard& device,
                     const PassWork& step) {
  const std::int64_t blocks = ceil_div(step.kv_length, decisions.block.n) * decisions.batch;
  return stream_stall(stage, decisions, device, {step, blocks, decisions.batch});
}

Seconds prefill_stall(const RankModel& stage, const Decisions& decisions,
                      const DeviceCard& device) {
  Seconds stall;
  const std::int64_t block = decisions.block.n;
  for_each_chunk(decisions, [&](std::int64_t begin, std::int64_t end, const PassWork& work) {
    stall += stream_stall(stage, decisions, device,
                          {work, ceil_div(begin, block), ceil_div(end, block) - begin / block});
  });
  return stall;
}

Performance predict_performance(const std::vector<RankModel>& stages, const Decisions& decisions,
                                const DeviceCard& whole, const DraftAccount* draft) {
  const DeviceCard device = shared_by(whole, decisions.replicas);
  const Tokens prompt = decisions.context - decisions.output;
  const Tokens mean_context = prompt + Tokens{decisions.output.n / 2};
  TermTable prefill, decode;
  Performance performance;
  for (const RankModel& stage : stages) {
    prefill.add(device, prefill_work(stage, decisions, device.kind));
    const std::int64_t asked = decisions.batch * (most_guesses(decisions) + 1);
    const PassWork step{asked, asked, decisions.batch, std::max<std::int64_t>(1, mean_context.n)};
    decode.add(device, forward_work(stage, decisions, step, device.kind));
    if (decisions.kv_placement != KvPlacement::kDevice) {
      prefill.add_stall("kv_stream", prefill_stall(stage, decisions, device));
      decode.add_stall("kv_stream", decode_stall(stage, decisions, device, step));
    }
    if (stage.weight_staging > 0) {
      prefill.add_stall("weight_stream", prefill_weight_stall(stage, decisions, device));
      decode.add_stall("weight_stream", weight_stall(stage, decisions, device, {step}));
    }
    if (decisions.activation_offload) {
      const Link link = far_link(device, KvPlacement::kHost);
      const auto layers = static_cast<std::int64_t>(stage.kind_of_layer.size());
      const Bytes moved = hidden_state_traffic(stage.hidden, layers, decisions);
      prefill.add_stall("hidden_states", moved / BytesPerSecond{link.bytes_per_s.value});
    }
    performance.decode_floor += decode_floor(decode_bytes(stage, decisions, mean_context),
                                             {device.memory_bytes_per_s.value});
  }
  if (draft != nullptr) {
    prefill.add(device, draft_prefill_work(*draft, decisions, device.kind));
    decode.add(device, draft_step_work(*draft, decisions, mean_context.n, device.kind));
  }
  const double yield = expected_tokens(most_guesses(decisions), decisions.speculation.acceptance);
  performance.ttft = prefill.total();
  performance.tpot = {decode.total().v / yield};
  const double tpot = performance.tpot.v, ttft = performance.ttft.v;
  const auto replicas = static_cast<double>(decisions.replicas);
  const auto sequences = static_cast<double>(decisions.batch) * replicas;
  if (tpot > 0) performance.tokens_per_second = sequences / tpot;
  if (ttft > 0)
    performance.prefill_tokens_per_second = replicas * static_cast<double>(prompt.n) / ttft;
  performance.limited_by = decode.limited_by();
  performance.prefill_terms = prefill.terms();
  performance.decode_terms = decode.terms();
  return performance;
}

}  // namespace vramplan
