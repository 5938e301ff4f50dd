// StrategySpace: the closed form behind search.h.
#include <algorithm>

#include "planner/account.h"
#include "planner/activations.h"
#include "planner/choices.h"
#include "planner/forward_work.h"
#include "planner/kv_cache.h"
#include "planner/latency.h"
#include "planner/search.h"
#include "planner/weight_names.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostBatch = 512;
constexpr double kProbe = 1e12;

const WeightChoice kWeightChoices[] = {{"stored", std::nullopt, Quality::kLossless},
                                       {"f8_e4m3", DType::kF8E4M3, Quality::kEightBit},
                                       {"nvfp4", DType::kNvfp4, Quality::kFourBit}};
const KvChoice kKvChoices[] = {{KvFormat::kBF16, Quality::kLossless},
                               {KvFormat::kFp8, Quality::kEightBit}};

/// Seconds of one call and of one byte, read off the latency model.
std::pair<double, double> line_of(const DeviceCard& device, OpWork work) {
  work.calls = 1;
  work.bytes = 0;
  work.flops = 0;
  const double call = op_seconds(device, work).v;
  work.bytes = kProbe;
  return {call, (op_seconds(device, work).v - call) / kProbe};
}

bool is_collective(OpKind op) { return op == OpKind::kAllReduce || op == OpKind::kAllGather; }

}  // namespace

void StrategySpace::Work::add(const Work& other, int count) {
  const double n = count;
  calls += n * other.calls;
  bytes += n * other.bytes;
  for (int c = 0; c < 3; ++c) flops[c] += n * other.flops[c];
  link_calls += n * other.link_calls;
  link_bytes += n * other.link_bytes;
  send_calls += n * other.send_calls;
  send_bytes += n * other.send_bytes;
  ring_calls += n * other.ring_calls;
  ring_bytes += n * other.ring_bytes;
}

std::size_t StrategySpace::compute_slot(DType dtype) {
  const auto found = std::find(computes_.begin(), computes_.end(), dtype);
  if (found != computes_.end()) return static_cast<std::size_t>(found - computes_.begin());
  VRAMPLAN_CHECK(computes_.size() < 3);
  computes_.push_back(dtype);
  return computes_.size() - 1;
}

void StrategySpace::add_work(const std::vector<OpWork>& works, const Sharding& sharding,
                             Work& sum) {
  for (const OpWork& work : works) {
    const double calls = static_cast<double>(work.calls);
    const bool moves = is_collective(work.op) || work.op == OpKind::kSend;
    if (moves && sharding.cp > 1 && work.ranks == sharding.stage_ranks()) {
      sum.ring_calls += calls;  // a pipeline's send as far as that takes as long
      sum.ring_bytes += work.bytes;
    } else if (is_collective(work.op)) {
      sum.link_calls += calls;
      sum.link_bytes += work.bytes;
    } else if (work.op == OpKind::kSend) {
      sum.send_calls += calls;
      sum.send_bytes += work.bytes;
    } else {
      sum.calls += calls;
      sum.bytes += work.bytes;
      if (work.flops > 0) sum.flops[compute_slot(work.compute)] += work.flops;
    }
  }
}

StrategySpace::StrategySpace(const ModelSource& given, const SearchRequest& request)
    : request_(request) {
  ModelSource source = given;
  source.stored = stored_by_gguf_name(given);
  for (const WeightChoice& choice : kWeightChoices) {
    if (choice.quality <= request.limits.quality) weights_.push_back(choice);
  }
  for (const KvChoice& choice : kKvChoices) {
    if (choice.quality <= request.limits.quality) kv_formats_.push_back(choice);
  }
  for (std::int64_t b = 1; b <= kMostBatch; b *= 2) batches_.push_back(b);
  if (request.devices.empty()) {
    throw Error(ErrorCode::kUsage, "there is no device to search").at("", "--devices");
  }
  tiers_ = {SearchTier{}};
  for (const KvPlacement placement : request.placements) {
    const SearchTier tier{placement, false, false};
    if (std::find(tiers_.begin(), tiers_.end(), tier) == tiers_.end()) tiers_.push_back(tier);
  }
  if (request.weights_on_host) tiers_.push_back({KvPlacement::kDevice, true, false});
  base_ = make_choices(source, request.devices.front(), request.plan).decisions;
  const bool several_chunks = base_.prefill_chunk < base_.context - base_.output;
  if (request.weights_on_host && request.hidden_on_host && several_chunks) {
    tiers_.push_back({KvPlacement::kDevice, true, true});
  }
  base_.activations = DType::kBF16;
  Decisions one = base_;
  one.sharding = {};
  layer_count_ = source.card.layer_count();
  for (const auto kind : rank_model(source.card, one, source.stored, 0).kind_of_layer) {
    kind_of_layer_.push_back(static_cast<int>(kind));
  }
  add_devices(tokenizer_tables(source));
  add_shards(source);
  add_seconds();
}

void StrategySpace::add_devices(const TokenizerTables& tables) {
  for (const DeviceCard& card : request_.devices) {
    if (!card.op_costs.empty() || card.kind != DeviceKind::kGpu) {
      throw Error(ErrorCode::kUnsupported, "search knows GPU cards without measured cost lines")
          .at("", card.name)
          .help("leave " + card.name + " out of --devices");
    }
    Device device;
    device.capacity = {card.capacity_bytes.value};
    device.node = std::max<std::int64_t>(1, card.devices_per_node.value);
    device.gemm = {card.workspace_bytes.value};
    device.graph_node = {card.graph_node_bytes.value};
    const auto multiprocessors =
        static_cast<int>(std::max<std::int64_t>(1, card.multiprocessors.value));
    const auto slot = std::find(multiprocessors_.begin(), multiprocessors_.end(), multiprocessors);
    device.slot = static_cast<std::size_t>(slot - multiprocessors_.begin());
    if (slot == multiprocessors_.end()) multiprocessors_.push_back(multiprocessors);
    for (const LedgerRow& row : runtime_rows(card, tables, 0, 1)) {
      if (row.tier == TierKind::kDevice) device.runtime_one += row.bytes;
    }
    for (const LedgerRow& row : runtime_rows(card, tables, 0, 2)) {
      if (row.tier == TierKind::kDevice) device.runtime_many += row.bytes;
    }
    const auto price = request_.usd_per_hour.find(card.name);
    if (price != request_.usd_per_hour.end()) {
      device.usd_per_hour = price->second;
    } else if (!card.price_per_hour_usd.source.empty()) {
      device.usd_per_hour = card.price_per_hour_usd.value;
    }
    devices_.push_back(std::move(device));
  }
}

void StrategySpace::add_seconds() {
  for (std::size_t i = 0; i < request_.devices.size(); ++i) {
    const DeviceCard& card = request_.devices[i];
    Device& device = devices_[i];
    OpWork plain;
    plain.op = OpKind::kAdd;
    std::tie(device.launch_s, device.byte_s) = line_of(card, plain);
    for (std::size_t c = 0; c < computes_.size(); ++c) {
      OpWork product;
      product.op = OpKind::kLinear;
      product.compute = computes_[c];
      product.flops = kProbe;
      device.flop_s[c] = (op_seconds(card, product).v - device.launch_s) / kProbe;
    }
    for (Shard& shard : shards_) {
      OpWork reduce;
      reduce.op = OpKind::kAllReduce;
      reduce.ranks = shard.sharding.tp;
      const auto [call, byte] = reduce.ranks > 1 ? line_of(card, reduce) : std::pair{0.0, 0.0};
      shard.tp_links.push_back({call, byte});
      OpWork send;
      send.op = OpKind::kSend;
      send.ranks = 2;
      const bool staged = shard.sharding.pp > 1;
      const auto [send_call, send_byte] = staged ? line_of(card, send) : std::pair{0.0, 0.0};
      shard.send_links.push_back({send_call, send_byte});
      send.ranks = shard.sharding.stage_ranks();
      const bool ring = shard.sharding.cp > 1;
      const auto [ring_call, ring_byte] = ring ? line_of(card, send) : std::pair{0.0, 0.0};
      shard.ring_links.push_back({ring_call, ring_byte});
    }
  }
}

StrategySpace::Peaks StrategySpace::no_peaks() const {
  return Peaks(batches_.size(), std::vector<Bytes>(devices_.size()));
}

Tokens StrategySpace::mean_context() const {
  return Tokens{std::max<std::int64_t>(1, (base_.context - base_.output).n + base_.output.n / 2)};
}

std::vector<Bytes> StrategySpace::extents(const RankModel& model, const Decisions& decisions,
                                          const std::vector<PassShape>& passes) const {
  std::vector<Bytes> out(multiprocessors_.size());
  std::vector<std::vector<Bytes>> scratch(out.size(), std::vector<Bytes>(model.kinds.size()));
  for (const PassShape& pass : passes) {
    std::vector<Bytes> extent(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const ScratchRules rules = scratch_rules(decisions, DeviceKind::kGpu, multiprocessors_[i]);
      for (std::size_t k = 0; k < model.kinds.size(); ++k) {
        scratch[i][k] = attention_scratch(rules, pass, model.kinds[k]);
      }
      // A pass knows multiprocessors by the scratch of attention alone.
      const auto same =
          std::find(scratch.begin(), scratch.begin() + static_cast<long>(i), scratch[i]);
      const auto known = static_cast<std::size_t>(same - scratch.begin());
      extent[i] = known < i ? extent[known] : pass_extent(model, rules, pass);
      out[i] = std::max(out[i], extent[i]);
    }
  }
  return out;
}

StrategySpace::StageExtents StrategySpace::stage_extents(const StageAccount& account,
                                                         const Decisions& decisions) const {
  const bool head = account.model.shape.head;
  // Prompts are prefilled one after another, whatever the batch.
  StageExtents out{extents(account.model, decisions, prefill_passes(decisions, head)), {}};
  for (const std::int64_t batch : batches_) {
    const Decisions d = with_batch(decisions, batch);
    out.decode.push_back(extents(account.model, d, decode_passes(d, head)));
  }
  return out;
}

void StrategySpace::add_peaks(const StageAccount& account, const Decisions& decisions,
                              const StageExtents& extents, Peaks& peaks) const {
  const bool many = decisions.sharding.ranks() > 1;
  const Bytes granule{256};
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    const Decisions d = with_batch(decisions, batches_[b]);
    // Of the account, activations know the device's multiprocessors and graphs the bytes of its
    // nodes; the rest does not.
    const Bytes fixed = account.weights + account.padding + kv_region_bytes(account.model, d) +
                        index_bytes(*account.gpu, d) + account.gpu->vectors;
    GpuAccount gpu = *account.gpu;
    const std::vector<Bytes>& decode = extents.decode[b];
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      const Device& device = devices_[i];
      gpu.graph_node = device.graph_node;
      const Bytes extent = std::max(extents.prefill[device.slot], decode[device.slot]);
      const Bytes reservation = fixed + extent + round_up(device.gemm, granule);
      const Bytes runtime = many ? device.runtime_many : device.runtime_one;
      const Bytes peak =
          runtime - device.gemm + graph_bytes(gpu, d) + round_up(reservation, kGpuPage);
      peaks[b][i] = std::max(peaks[b][i], peak);
    }
  }
}

double StrategySpace::seconds(const Work& work, const Device& device, const Shard& shard,
                              std::size_t device_index) const {
  double sum = work.calls * device.launch_s + work.bytes * device.byte_s;
  for (int c = 0; c < 3; ++c) sum += work.flops[c] * device.flop_s[c];
  const Link& tp = shard.tp_links[device_index];
  const Link& send = shard.send_links[device_index];
  sum += work.link_calls * tp.call_s + work.link_bytes * tp.byte_s;
  const Link& ring = shard.ring_links[device_index];
  sum += work.ring_calls * ring.call_s + work.ring_bytes * ring.byte_s;
  return sum + work.send_calls * send.call_s + work.send_bytes * send.byte_s;
}

Evaluation StrategySpace::evaluate(const Strategy& s) const {
  Evaluation out;
  out.strategy = s;
  const int index = shard_index_[index_of({s.tp, s.pp, s.cp, s.ep}, s.format, s.kv_format)];
  if (index < 0) return out;
  const Shard& shard = shards_[static_cast<std::size_t>(index)];
  // Batches are powers of two: the exponent is the index.
  const auto b =
      static_cast<std::size_t>(__builtin_ctzll(static_cast<unsigned long long>(s.batch)));
  VRAMPLAN_CHECK(b < batches_.size() && batches_[b] == s.batch);
  const Device& device = devices_[s.device];
  double decode_stall = 0, prefill_stall = 0;
  if (s.tier > 0) {
    const FarTier& far = shard.far[s.tier - 1u];
    decode_stall = far.decode_stall[b][s.device];
    prefill_stall = far.prefill_stall[s.device];
    if (decode_stall < 0) return out;
  }
  out.peak = (s.tier > 0 ? shard.far[s.tier - 1u].peaks : shard.peaks)[b][s.device];
  out.headroom = {device.capacity.n - out.peak.n};
  out.fits = out.headroom.n >= 0;
  out.ttft = {seconds(shard.prefill, device, shard, s.device) + prefill_stall};
  out.tpot = {seconds(shard.decode[b], device, shard, s.device) + decode_stall};
  out.tokens_per_second = static_cast<double>(s.batch) * s.replicas / out.tpot.v;
  if (device.usd_per_hour) out.usd_per_hour = *device.usd_per_hour * s.devices();
  out.nodes = static_cast<int>((s.devices() + device.node - 1) / device.node);
  return out;
}

std::vector<Strategy> StrategySpace::strategies() const {
  std::vector<Strategy> out;
  for (const Shard& shard : shards_) {
    for (std::size_t d = 0; d < devices_.size(); ++d) {
      for (std::size_t b = 0; b < batches_.size(); ++b) {
        Strategy s;
        s.device = static_cast<std::uint16_t>(d);
        s.tp = static_cast<std::uint16_t>(shard.sharding.tp);
        s.pp = static_cast<std::uint16_t>(shard.sharding.pp);
        s.cp = static_cast<std::uint16_t>(shard.sharding.cp);
        s.ep = static_cast<std::uint16_t>(shard.sharding.ep);
        s.format = static_cast<std::uint8_t>(shard.format);
        s.kv_format = static_cast<std::uint8_t>(shard.kv_format);
        s.batch = batches_[b];
        out.push_back(s);
        for (std::size_t tier = 0; tier < shard.far.size(); ++tier) {
          if (shard.far[tier].decode_stall[b][d] < 0) continue;
          s.tier = static_cast<std::uint8_t>(tier + 1);
          out.push_back(s);
        }
      }
    }
  }
  return out;
}

}  // namespace vramplan
