#include "planner/serving.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vramplan {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

double peak_of(const DeviceCard& device, Quantization quantization) {
  const auto find = [&](const char* name) {
    const auto found = device.flops_per_s.find(name);
    return found == device.flops_per_s.end() ? 0.0 : found->second.value;
  };
  const double bf16 = std::max(find("bf16"), find("f16")), fp8 = find("fp8"), fp4 = find("fp4");
  switch (quantization) {
    case Quantization::kFp8:
    case Quantization::kFp8Block:
    case Quantization::kInt8:
      return std::max(bf16, fp8);
    case Quantization::kNvfp4:
      return std::max(bf16, fp4);
    case Quantization::kMxfp4:  // computed in 8 bits where 4 bits exist, else in 16
      return fp4 > 0 ? std::max(bf16, fp8) : bf16;
    default:
      return bf16;
  }
}

double link_bytes_per_s(const DeviceCard& device) {
  double best = 0;
  for (const Link& link : device.links) {
    const bool near = link.kind == LinkKind::kNvlink || link.kind == LinkKind::kPcie;
    if (near) best = std::max(best, link.bytes_per_s.value);
  }
  return best;
}

/// Seconds of one step and one prefill on a rank, term by term.
class StepModel {
 public:
  StepModel(const EngineTable& table, const DeviceCard& device, const EngineModel& model,
            Quantization quantization, int tp)
      : t_(table),
        m_(model),
        tp_(tp),
        bandwidth_(device.memory_bytes_per_s.value),
        peak_(peak_of(device, quantization)),
        link_(link_bytes_per_s(device)),
        memory_(1),
        flops_(1) {
    const bool fp4_device = device.flops_per_s.count("fp4") > 0;
    const bool fp4 = quantization == Quantization::kNvfp4;
    if (fp4_device) memory_ *= t_.number("serve_fp4_generation_memory");
    if (fp4_device) flops_ *= t_.number("serve_fp4_generation_flops");
    if (fp4) memory_ *= t_.number("serve_fp4_memory");
    if (fp4) flops_ *= t_.number("serve_fp4_flops");
    if (bandwidth_ <= 0 || peak_ <= 0 || (tp > 1 && link_ <= 0)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} says too little for serving times", device.name))
          .at(device.name, "flops_per_s, memory_bytes_per_s, links");
    }
  }

  double decode(double running, double context) const {
    const double share = m_.experts > 0
                             ? 1 - std::pow(1 - real(m_.experts_per_token) / real(m_.experts), running)
                             : 0;
    const double weights = real(m_.linear_weights.n) + real(m_.head_weights.n) +
                           real(m_.expert_weights.n) * share;
    double cache = 0;
    for (const KvLayers& layers : m_.kv) {
      const double kept = layers.window > 0 ? std::min(context, real(layers.window)) : context;
      cache += running * kept * real(layers.bytes_per_token.n) * real(layers.layers);
    }
    return overhead() + t_.number("serve_step_s") +
           (weights * t_.number("serve_weights") + cache * t_.number("serve_cache")) / bandwidth_ *
               memory_ +
           matrices() * running / peak_ * t_.number("serve_decode_flops") * flops_ +
           reduce(running);
  }

  double prefill(double tokens) const {
    double pairs = 0;
    for (const KvLayers& layers : m_.kv) {
      const double seen = layers.window > 0 ? std::min(tokens, real(layers.window)) : tokens;
      pairs += tokens * seen * real(layers.layers);
    }
    const double attention = 2 * pairs * real(m_.heads) * real(m_.head_dim);
    const double experts = m_.experts > 0 ? t_.number("serve_expert_prefill") : 1;
    return overhead() +
           (matrices() * tokens / peak_ * t_.number("serve_prefill_flops") * experts +
            attention / peak_ * t_.number("serve_attention_flops")) *
               flops_ +
           reduce(tokens);
  }

 private:
  double overhead() const {
    const double expert = m_.experts > 0 ? t_.number("serve_expert_layer_s") : 0;
    return real(m_.layers) * (t_.number("serve_layer_s") + expert);
  }
  /// Flops of the matrices for one token.
  double matrices() const {
    const double routed =
        m_.experts > 0 ? real(m_.expert_elements) * real(m_.experts_per_token) / real(m_.experts)
                       : 0;
    return 2 * (real(m_.linear_elements) + routed);
  }
  double reduce(double rows) const {
    if (tp_ == 1) return 0;
    const double calls = 2 * real(m_.layers);
    return calls * (t_.number("serve_reduce_s") +
                    rows * real(m_.hidden) * 2 / link_ * t_.number("serve_reduce_bytes"));
  }

  const EngineTable& t_;
  const EngineModel& m_;
  int tp_;
  double bandwidth_, peak_, link_, memory_, flops_;
};

void check(const EngineTable& table, const Decisions& decisions, const ServingLoad& load) {
  if (!table.has("serve_weights")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no serving times of {} were fitted", name_of(table.kind)))
        .at("", "--concurrency")
        .help("serving times exist for vllm, sglang and trtllm");
  }
  if (decisions.sharding.pp > 1) {
    throw Error(ErrorCode::kUnsupported, "no serving times of a pipeline were fitted")
        .at("", "--pp")
        .help("use --tp alone");
  }
  if (load.input.n < 1 || load.output.n < 1 || load.concurrency < 1) {
    throw Error(ErrorCode::kUsage, "serving needs at least one token in, one out and one request")
        .at("", "--input-tokens, --output-tokens, --concurrency");
  }
}

}  // namespace

ServingForecast forecast_serving(const ModelSource& source, const DeviceCard& device,
                                 const Decisions& decisions, const EngineRequest& request,
                                 const EngineForecast& forecast, const ServingLoad& load) {
  const EngineTable table = engine_table(request.id);
  check(table, decisions, load);
  std::vector<Assumption> unused;
  const EngineSettings settings =
      engine_settings(table, source, device, decisions, request, unused);
  const EngineModel model = engine_model(source, decisions, settings.formats, 0);
  const StepModel steps(table, device, model, settings.formats.quantization,
                        decisions.sharding.tp);
  const double length = real(load.input.n) + real(load.output.n);
  const double places = std::max(1.0, real(forecast.kv_tokens.n) / length);
  const double asked = real(std::min(load.concurrency, settings.max_num_seqs));
  ServingForecast out;
  out.input_tokens = load.input.n;
  out.output_tokens = load.output.n;
  out.concurrency = load.concurrency;
  out.running = std::min(asked, places);
  const double step = steps.decode(out.running, real(load.input.n) + real(load.output.n) / 2);
  const double prefill = steps.prefill(real(load.input.n));
  const double shorter =
      std::pow(real(load.output.n) / 1024, -table.number("serve_output_power"));
  const double tpot = step + table.number("serve_interference") * out.running /
                                 real(load.output.n) * (prefill + table.number("serve_prefill_s"));
  const double queue = table.number("serve_queue") * shorter *
                       std::pow(std::max(0.0, out.running - 1), table.number("serve_queue_power"));
  const double waiting = (real(load.concurrency) - out.running) / out.running;
  out.tpot = {tpot};
  out.ttft = {table.number("serve_prefill_s") * shorter + prefill * (1 + queue) + step +
              waiting * tpot * real(load.output.n) * table.number("serve_wait")};
  const double request_s = out.ttft.v + tpot * real(load.output.n - 1);
  out.requests_per_second = real(load.concurrency) / request_s;
  out.tokens_per_second = out.requests_per_second * real(load.output.n);
  out.ttft_error = table.number("serve_ttft_error");
  out.tpot_error = table.number("serve_tpot_error");
  return out;
}

}  // namespace vramplan
