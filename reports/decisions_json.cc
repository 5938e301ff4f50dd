#include "reports/decisions_json.h"

#include <fmt/format.h>

#include <charconv>
#include <climits>

#include "reports/engine_report.h"

namespace vramplan {
namespace {

using nlohmann::json;

json pools_array(const Decisions& d) {
  json pools = json::array();
  for (const WindowPool& pool : d.window_pools) {
    pools.push_back({{"window_tokens", pool.window.n}, {"blocks", pool.blocks.n}});
  }
  return pools;
}

json heads_array(const KvHeads& heads) {
  json list = json::array();
  for (std::int64_t head = 0; head < heads.end(); ++head) {
    if (heads.has(head)) list.push_back(head);
  }
  return list;
}

KvHeads heads_from(const JsonReader& in) {
  KvHeads heads;
  for (const JsonReader& item : in.items()) {
    const std::int64_t head = item.count();
    if (head >= KvHeads::kMost) item.fail("no layer has so many KV heads");
    heads.bits |= std::uint64_t{1} << head;
  }
  return heads;
}

json layers_array(const Decisions& d) {
  json list = json::array();
  for (const KvLayerRange& piece : d.kv_layers) {
    list.push_back({{"first_layer", piece.begin},
                    {"last_layer", piece.end - 1},
                    {"kv_format", name_of(piece.encoding.format)},
                    {"full_heads", heads_array(piece.encoding.full_heads)}});
  }
  return list;
}

DType dtype_from(const JsonReader& value) {
  const auto dtype = dtype_from_name(value.text());
  if (!dtype) value.fail("'" + value.text() + "' is no element format");
  return *dtype;
}

json weight_layers_array(const Decisions& d) {
  json list = json::array();
  for (const WeightLayerRange& piece : d.weight_layers) {
    list.push_back({{"first_layer", piece.begin},
                    {"last_layer", piece.end - 1},
                    {"weights", piece.format ? json(info(*piece.format).name) : json(nullptr)}});
  }
  return list;
}

/// One past the last layer of a piece.
std::int64_t end_from(const JsonReader& piece) {
  const std::int64_t last = piece.at("last_layer").count();
  if (last > INT_MAX) piece.at("last_layer").fail("no model has so many layers");
  return last + 1;
}

std::vector<WeightLayerRange> weight_layers_from(const JsonReader& in) {
  std::vector<WeightLayerRange> layers;
  for (const JsonReader& piece : in.items()) {
    layers.push_back({piece.at("first_layer").count(), end_from(piece), {}});
    const JsonReader format = piece.at("weights");
    if (!format.is_null()) layers.back().format = dtype_from(format);
  }
  return layers;
}

/// Whether the model has these layers is asked where it is known.
std::vector<KvLayerRange> layers_from(const JsonReader& in) {
  std::vector<KvLayerRange> layers;
  for (const JsonReader& piece : in.items()) {
    layers.push_back(
        {piece.at("first_layer").count(),
         end_from(piece),
         {piece.at("kv_format").word<KvFormat>(kKvFormats), heads_from(piece.at("full_heads"))}});
  }
  return layers;
}

json speculation_object(const GuessDecision& s) {
  return {{"method", name_of(s.guess)},
          {"tokens", s.tokens},
          {"acceptance", s.acceptance},
          {"draft", s.draft},
          {"draft_hash", fmt::format("{:016x}", s.draft_hash)}};
}

int small_count(const JsonReader& value) {
  const std::int64_t n = value.count();
  if (n > INT_MAX) value.fail("the count is too large");
  return static_cast<int>(n);
}

/// Ranks are counted and divided by before a model is there to check them against; the bound is the
/// plan file's.
Sharding sharding_from(const JsonReader& in) {
  constexpr std::int64_t kMostRanks = 65536;
  const auto ranks = [&](const char* key) {
    const std::int64_t n = in.at(key).count();
    if (n < 1 || n > kMostRanks) in.at(key).fail("ranks are 1 to 65536");
    return static_cast<int>(n);
  };
  const Sharding s{ranks("tp"), ranks("pp"), ranks("cp"), ranks("ep")};
  const std::int64_t stages = std::int64_t{s.tp} * s.pp;
  if (stages * s.cp > kMostRanks) in.at("tp").fail("more than 65536 ranks");
  if (s.tp % s.ep != 0) in.at("ep").fail("ep is no divisor of tp");
  if (in.at("device_count").count() != s.ranks()) {
    in.at("device_count").fail("the sharding has another number of ranks");
  }
  return s;
}

std::uint64_t hash_from(const JsonReader& value) {
  const std::string text = value.text();
  std::uint64_t hash = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  if (status != std::errc() || rest != text.data() + text.size() || text.size() != 16) {
    value.fail("a hash has 16 hexadecimal digits");
  }
  return hash;
}

void pools_from(const JsonReader& in, Decisions& d) {
  d.kv_blocks = {in.at("kv_blocks").count()};
  if (in.has("preempt")) {
    d.preempt = in.at("preempt").word<Preempt>(kPreempts);
    d.swap_blocks = {in.at("swap_blocks").count()};
  }
  if (!in.has("window_pools")) return;  // records of before have none
  for (const JsonReader& pool : in.at("window_pools").items()) {
    d.window_pools.push_back({{pool.at("window_tokens").count()}, {pool.at("blocks").count()}});
  }
}

GuessDecision speculation_from(const JsonReader& in) {
  GuessDecision s{in.at("method").word<Guess>(kGuesses), in.at("tokens").count(),
                  in.at("draft").text(), 0, in.at("acceptance").number()};
  if (s.guess == Guess::kDraft) s.draft_hash = hash_from(in.at("draft_hash"));
  return s;
}

/// Records of before say less.
void weights_from(const JsonReader& in, Decisions& d) {
  if (!in.at("weights").is_null()) d.weights = dtype_from(in.at("weights"));
  if (in.has("weight_layers")) d.weight_layers = weight_layers_from(in.at("weight_layers"));
  if (!in.has("weight_streamed_layers")) return;
  d.weight_offload = {in.at("weight_streamed_layers").count(),
                      in.at("weight_staging_layers").count()};
}

}  // namespace

json decisions_object(const Plan& plan) {
  const Decisions& d = plan.decisions;
  json out = {
      {"model", d.model},
      {"set", d.set},
      {"card_hash", fmt::format("{:016x}", d.card_hash)},
      {"device", d.device},
      {"device_count", d.device_count},
      {"tp", d.sharding.tp},
      {"pp", d.sharding.pp},
      {"cp", d.sharding.cp},
      {"ep", d.sharding.ep},
      {"weights", d.weights ? json(info(*d.weights).name) : json(nullptr)},
      {"weight_layers", weight_layers_array(d)},
      {"weight_streamed_layers", d.weight_offload.layers},
      {"weight_staging_layers", d.weight_offload.staging},
      {"activations", info(d.activations).name},
      {"kv_format", name_of(d.kv_format)},
      {"kv_full_heads", heads_array(d.kv_full_heads)},
      {"kv_layers", layers_array(d)},
      {"kv_policy", name_of(d.kv_policy)},
      {"kv_sink_tokens", d.kv_keep.sinks.n},
      {"kv_window_tokens", d.kv_keep.window.n},
      {"kv_budget_tokens", d.kv_keep.budget.n},
      {"kv_score", name_of(d.kv_score)},
      {"kv_residual_tokens", d.kv_residual.tokens.n},
      {"kv_residual_blocks", d.kv_residual.blocks.n},
      {"kv_history_blocks", d.kv_residual.history.n},
      {"kv_stride", d.kv_residual.stride},
      {"kv_placement", name_of(d.kv_placement)},
      {"kv_resident_layers", d.kv_offload.resident},
      {"kv_staging_layers", d.kv_offload.staging},
      {"kv_layout", name_of(d.kv_layout)},
      {"block_tokens", d.block.n},
      {"kv_blocks", d.kv_blocks.n},
      {"preempt", name_of(d.preempt)},
      {"swap_blocks", d.swap_blocks.n},
      {"window_pools", pools_array(d)},
      {"context_tokens", d.context.n},
      {"output_tokens", d.output.n},
      {"batch", d.batch},
      {"samples", d.samples},
      {"beam_search", d.beam_search},
      {"shared_prefix_tokens", d.shared_prefix.n},
      {"prefill_chunk_tokens", d.prefill_chunk.n},
      {"activation_offload", d.activation_offload},
      {"attention", name_of(d.attention)},
      {"linear_inputs", info(d.linear_inputs).name},
      {"threads", d.threads},
      {"replicas", d.replicas},
      {"seed", d.seed},
      {"capacity_bytes", d.capacity.n},
  };
  if (!d.assume_like.empty()) out["assume_like"] = d.assume_like;
  if (d.speculation.any()) out["speculation"] = speculation_object(d.speculation);
  if (plan.engine) out["engine"] = engine_decision_object(*plan.engine);
  return out;
}

void read_decisions(const JsonReader& in, Plan& plan) {
  Decisions& d = plan.decisions;
  d.model = in.at("model").text();
  d.set = in.at("set").texts();
  d.card_hash = hash_from(in.at("card_hash"));
  d.device = in.at("device").text();
  d.device_count = small_count(in.at("device_count"));
  d.sharding = sharding_from(in);
  weights_from(in, d);
  d.activations = dtype_from(in.at("activations"));
  d.kv_format = in.at("kv_format").word<KvFormat>(kKvFormats);
  if (in.has("kv_layers")) {  // records of before have none
    d.kv_full_heads = heads_from(in.at("kv_full_heads"));
    d.kv_layers = layers_from(in.at("kv_layers"));
  }
  d.kv_policy = in.at("kv_policy").word<KvPolicy>(kKvPolicies);
  if (d.kv_policy == KvPolicy::kSinkWindow || d.kv_policy == KvPolicy::kMass) {
    d.kv_keep = {{in.at("kv_sink_tokens").count()}, {in.at("kv_window_tokens").count()}, {}};
    if (in.has("kv_budget_tokens")) {  // records of before have none
      d.kv_keep.budget = {in.at("kv_budget_tokens").count()};
      d.kv_score = in.at("kv_score").word<KvScore>(kKvScores);
    }
  }
  if (in.has("kv_residual_tokens")) {  // records of before have none
    d.kv_residual = {{in.at("kv_residual_tokens").count()},
                     in.at("kv_stride").count(),
                     {in.at("kv_residual_blocks").count()},
                     {}};
    if (in.has("kv_history_blocks")) {
      d.kv_residual.history = {in.at("kv_history_blocks").count()};
    }
  }
  d.kv_placement = in.at("kv_placement").word<KvPlacement>(kKvPlacements);
  if (in.has("kv_resident_layers")) {  // records of before have none
    d.kv_offload = {in.at("kv_resident_layers").count(), in.at("kv_staging_layers").count()};
  }
  d.kv_layout = in.at("kv_layout").word<KvLayout>(kKvLayouts);
  if (in.has("samples")) d.samples = in.at("samples").count();
  if (in.has("beam_search")) d.beam_search = in.at("beam_search").boolean();
  if (in.has("shared_prefix_tokens")) d.shared_prefix = {in.at("shared_prefix_tokens").count()};
  d.block = {in.at("block_tokens").count()};
  pools_from(in, d);
  if (in.has("speculation")) d.speculation = speculation_from(in.at("speculation"));
  d.context = {in.at("context_tokens").count()};
  d.output = {in.at("output_tokens").count()};
  d.batch = in.at("batch").count();
  d.prefill_chunk = {in.at("prefill_chunk_tokens").count()};
  if (in.has("activation_offload")) d.activation_offload = in.at("activation_offload").boolean();
  d.attention = in.at("attention").word<AttentionAlgorithm>(2);
  d.linear_inputs = dtype_from(in.at("linear_inputs"));
  d.threads = small_count(in.at("threads"));
  if (in.has("replicas")) d.replicas = in.at("replicas").count();
  d.seed = in.at("seed").unsigned_integer();
  d.capacity = in.at("capacity_bytes").bytes();
  if (in.has("assume_like")) d.assume_like = in.at("assume_like").text();
  if (in.has("engine")) plan.engine = engine_decision_from(in.at("engine"));
}

}  // namespace vramplan
