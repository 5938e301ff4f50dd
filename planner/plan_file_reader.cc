// Reads the YAML form of a plan: see read_plan in plan.h. Every field is checked: a plan may come
// from anywhere.
#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <sstream>

#include "modelcards/yaml.h"
#include "planner/kv_mix.h"
#include "planner/plan.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

constexpr const char* kSchema = "vramplan.plan/1";
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr double kMostReal = 1e300;
/// Keys of the decisions, in no order.
constexpr const char* kDecisionKeys =
    "model set card_hash device device_count sharding weights weight_layers weight_offload "
    "activations kv_format kv_full_heads kv_layers kv_policy kv_keep kv_residual samples "
    "beam_search speculation "
    "shared_prefix_tokens "
    "kv_placement "
    "kv_offload kv_layout block_tokens kv_blocks preempt swap_blocks window_pools context_tokens "
    "output_tokens batch prefill_chunk_tokens activation_offload attention linear_inputs threads "
    "replicas seed capacity_bytes assume_like engine";

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

class Reader {
 public:
  explicit Reader(const YamlNode& root) : root_(root) {}

  Plan run() {
    root_.allow_only({"schema", "verdict", "decisions", "assumptions", "predictions"});
    if (root_.at("schema").text() != kSchema) {
      root_.at("schema").fail("this is no " + std::string(kSchema),
                              "make the plan again with this program");
    }
    Plan plan;
    const YamlNode chosen = root_.at("decisions");
    decisions(chosen, plan.decisions);
    if (chosen.has("engine")) plan.engine = read_engine_decision(chosen.at("engine"));
    const YamlNode list = root_.at("assumptions");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const YamlNode a = list.at(i);
      a.allow_only({"what", "value", "flag"});
      plan.assumptions.push_back({a.at("what").text(), a.at("value").text(), a.at("flag").text()});
    }
    predictions(root_.at("predictions"), plan.predictions);
    plan.predictions.fits = choice(root_.at("verdict"), {"does_not_fit", "fits"}) == 1;
    return plan;
  }

 private:
  static std::size_t choice(const YamlNode& node, const std::vector<std::string>& names) {
    const std::string text = node.text();
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == text) return i;
    }
    node.fail(fmt::format("'{}' is none of: {}", text, fmt::join(names, ", ")));
  }
  /// One of the `count` values of an enum, by its name.
  template <class Enum>
  static Enum named(const YamlNode& node, int count) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.emplace_back(name_of(static_cast<Enum>(i)));
    return static_cast<Enum>(choice(node, names));
  }
  static std::int64_t count(const YamlNode& node, const char* key, std::int64_t low = 0) {
    return node.at(key).integer(low, kMost);
  }
  static int small(const YamlNode& node, const char* key) {
    return static_cast<int>(node.at(key).integer(1, 65536));
  }
  static double real(const YamlNode& node, const char* key) {
    return node.at(key).real(0, kMostReal);
  }
  static std::vector<std::string> texts(const YamlNode& list) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < list.size(); ++i) out.push_back(list.at(i).text());
    return out;
  }
  static std::uint64_t wide(const YamlNode& node, int base) {
    const std::string text = node.text();
    const std::size_t skip = base == 16 && text.rfind("0x", 0) == 0 ? 2 : 0;
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [rest, status] = std::from_chars(text.data() + skip, end, value, base);
    if (status != std::errc() || rest != end) node.fail("'" + text + "' is no 64-bit number");
    return value;
  }
  static DType dtype(const YamlNode& node) {
    const auto found = dtype_from_name(node.text());
    if (!found) node.fail("'" + node.text() + "' is no tensor format");
    return *found;
  }

  /// What a word means, its error with the place in the file.
  template <class Parse>
  static auto parsed(const YamlNode& node, Parse parse) {
    try {
      return parse();
    } catch (const Error& error) {
      node.fail(error.message(), error.fix());
    }
  }

  static GuessDecision speculation(const YamlNode& in) {
    in.allow_only({"method", "tokens", "acceptance", "draft", "draft_hash"});
    return {named<Guess>(in.at("method"), kGuesses), count(in, "tokens", 1), in.at("draft").text(),
            wide(in.at("draft_hash"), 16), in.at("acceptance").real(0, 1)};
  }

  /// Ranks are counted and divided by before a model is there to check them against.
  static Sharding sharding(const YamlNode& in) {
    in.allow_only({"tp", "pp", "cp", "ep"});
    const Sharding s{small(in, "tp"), small(in, "pp"), small(in, "cp"), small(in, "ep")};
    const std::int64_t stages = std::int64_t{s.tp} * s.pp;
    if (stages * s.cp > 65536) in.fail("more than 65536 ranks");
    if (s.tp % s.ep != 0) in.fail("ep is no divisor of tp");
    return s;
  }

  static void decisions(const YamlNode& in, Decisions& d) {
    in.allow_only(words(kDecisionKeys));
    d.model = in.at("model").text();
    d.set = texts(in.at("set"));
    if (in.has("assume_like")) d.assume_like = in.at("assume_like").text();
    d.card_hash = wide(in.at("card_hash"), 16);
    d.device = in.at("device").text();
    d.device_count = small(in, "device_count");
    d.sharding = sharding(in.at("sharding"));
    if (d.device_count != d.sharding.ranks()) {
      in.at("device_count")
          .fail(fmt::format("the sharding has {} ranks, one a device", d.sharding.ranks()));
    }
    if (in.at("weights").text() != "stored") d.weights = dtype(in.at("weights"));
    if (in.has("weight_layers")) {
      const YamlNode layers = in.at("weight_layers");
      d.weight_layers = parsed(layers, [&] { return parse_weight_layers(layers.text(), ""); });
    }
    if (in.has("weight_offload")) {
      const YamlNode offload = in.at("weight_offload");
      offload.allow_only({"streamed_layers", "staging_layers"});
      d.weight_offload = {count(offload, "streamed_layers", 1),
                          count(offload, "staging_layers", 1)};
    }
    d.activations = dtype(in.at("activations"));
    d.kv_format = named<KvFormat>(in.at("kv_format"), kKvFormats);
    if (in.has("kv_full_heads")) {
      const YamlNode heads = in.at("kv_full_heads");
      d.kv_full_heads = parsed(heads, [&] { return parse_kv_heads(heads.text(), ""); });
    }
    if (in.has("kv_layers")) {
      const YamlNode layers = in.at("kv_layers");
      d.kv_layers = parsed(layers, [&] { return parse_kv_layers(layers.text(), ""); });
    }
    d.kv_policy = named<KvPolicy>(in.at("kv_policy"), kKvPolicies);
    if (d.kv_policy == KvPolicy::kSinkWindow) {
      const YamlNode k = in.at("kv_keep");
      k.allow_only({"sink_tokens", "window_tokens"});
      d.kv_keep = {{count(k, "sink_tokens")}, {count(k, "window_tokens", 1)}, {}};
    } else if (d.kv_policy == KvPolicy::kMass) {
      const YamlNode k = in.at("kv_keep");
      k.allow_only({"budget_tokens", "score"});
      d.kv_keep = {{}, {}, {count(k, "budget_tokens", 1)}};
      d.kv_score = named<KvScore>(k.at("score"), kKvScores);
    }
    if (in.has("kv_residual")) {
      const YamlNode r = in.at("kv_residual");
      r.allow_only({"tokens", "stride", "blocks", "history_blocks"});
      d.kv_residual = {{count(r, "tokens", 1)}, count(r, "stride", 1), {count(r, "blocks")}, {}};
      if (r.has("history_blocks")) d.kv_residual.history = {count(r, "history_blocks")};
    }
    d.kv_placement = named<KvPlacement>(in.at("kv_placement"), kKvPlacements);
    if (d.kv_placement != KvPlacement::kDevice) {
      const YamlNode offload = in.at("kv_offload");
      offload.allow_only({"resident_layers", "staging_layers"});
      d.kv_offload = {count(offload, "resident_layers"), count(offload, "staging_layers", 1)};
    }
    if (in.has("speculation")) d.speculation = speculation(in.at("speculation"));
    d.kv_layout = named<KvLayout>(in.at("kv_layout"), kKvLayouts);
    d.block = {count(in, "block_tokens", 1)};
    d.kv_blocks = {count(in, "kv_blocks")};
    if (in.has("preempt")) {
      d.preempt = named<Preempt>(in.at("preempt"), kPreempts);
      d.swap_blocks = {count(in, "swap_blocks")};
    }
    const YamlNode pools = in.at("window_pools");
    const std::int64_t least = d.kv_policy == KvPolicy::kMass ? 0 : 1;  // a budget has no window
    for (std::size_t i = 0; i < pools.size(); ++i) {
      pools.at(i).allow_only({"window_tokens", "blocks"});
      d.window_pools.push_back(
          {{count(pools.at(i), "window_tokens", least)}, {count(pools.at(i), "blocks")}});
    }
    d.context = {count(in, "context_tokens", 2)};
    d.output = {count(in, "output_tokens", 1)};
    d.batch = count(in, "batch", 1);
    d.samples = count(in, "samples", 1);
    d.beam_search = in.boolean_or("beam_search", false);
    d.shared_prefix = {count(in, "shared_prefix_tokens")};
    d.prefill_chunk = {count(in, "prefill_chunk_tokens", 1)};
    d.activation_offload = in.boolean_or("activation_offload", false);
    d.attention = named<AttentionAlgorithm>(in.at("attention"), kAttentionAlgorithms);
    constexpr DType kInputs[] = {DType::kI8, DType::kF32, DType::kF8E4M3};
    d.linear_inputs = kInputs[choice(in.at("linear_inputs"), {"int8", "f32", "fp8"})];
    d.threads = small(in, "threads");
    if (in.has("replicas")) d.replicas = in.at("replicas").integer(1, kMostReplicas);
    d.seed = wide(in.at("seed"), 10);
    d.capacity = {count(in, "capacity_bytes")};
    if (d.output >= d.context) in.at("output_tokens").fail("leaves no prompt in the context");
  }

  static void predictions(const YamlNode& in, Predictions& p) {
    in.allow_only({"missing_bytes", "preemption", "speculation_forecast", "offload",
                   "binding_constraint", "advice", "totals", "capacity", "performance", "curve",
                   "devices", "ledger"});
    p.missing = {count(in, "missing_bytes")};
    if (in.has("preemption")) {
      const YamlNode q = in.at("preemption");
      q.allow_only({"preempted", "moved_blocks", "recomputed_tokens", "seconds", "other_seconds",
                    "mean_running"});
      p.preemption = {
          {count(q, "preempted"), {count(q, "moved_blocks")}, {count(q, "recomputed_tokens")}},
          {real(q, "seconds")},
          {real(q, "other_seconds")},
          real(q, "mean_running")};
    }
    if (in.has("speculation_forecast")) {
      const YamlNode s = in.at("speculation_forecast");
      s.allow_only({"tokens_a_step", "step_seconds", "plain_tpot_seconds", "speedup"});
      p.speculation = {real(s, "tokens_a_step"),
                       {real(s, "step_seconds")},
                       {real(s, "plain_tpot_seconds")},
                       real(s, "speedup")};
    }
    if (in.has("offload")) {
      const YamlNode f = in.at("offload");
      f.allow_only({"device_tpot_seconds", "slowdown", "cache_bytes", "reload_seconds",
                    "recompute_seconds", "break_even_bytes_per_second"});
      p.offload = {{real(f, "device_tpot_seconds")}, real(f, "slowdown"),
                   {count(f, "cache_bytes")},        {real(f, "reload_seconds")},
                   {real(f, "recompute_seconds")},   {real(f, "break_even_bytes_per_second")}};
    }
    p.binding_constraint = in.at("binding_constraint").text();
    p.advice = texts(in.at("advice"));
    const YamlNode totals = in.at("totals");
    p.totals = {{count(totals, "parameters")},
                {count(totals, "active_parameters")},
                {count(totals, "weight_bytes")},
                {count(totals, "kv_bytes_per_token")},
                {count(totals, "kv_bytes")}};
    const YamlNode capacity = in.at("capacity");
    p.capacity = {{count(capacity, "max_context_tokens")},
                  count(capacity, "max_sequences"),
                  {count(capacity, "kv_tokens")},
                  {count(capacity, "kv_equals_weights_tokens")}};
    performance(in.at("performance"), p.performance);
    const YamlNode curve = in.at("curve");
    for (std::size_t i = 0; i < curve.size(); ++i) {
      const YamlNode c = curve.at(i);
      p.curve.push_back({{real(c, "at_seconds")}, phase(c), {count(c, "bytes")}});
    }
    const YamlNode devices = in.at("devices");
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const YamlNode d = devices.at(i);
      p.devices.push_back({static_cast<int>(d.at("rank").integer(0, 65536)),
                           {count(d, "capacity_bytes")},
                           {count(d, "predicted_bytes")},
                           {count(d, "headroom_bytes", kLeast)}});
    }
    ledger(in.at("ledger"), p.ledger);
  }

  static void performance(const YamlNode& in, Performance& p) {
    p.ttft = {real(in, "ttft_seconds")};
    p.tpot = {real(in, "tpot_seconds")};
    p.tokens_per_second = real(in, "tokens_per_second");
    p.prefill_tokens_per_second = real(in, "prefill_tokens_per_second");
    p.limited_by = in.at("limited_by").text();
    p.decode_floor = {real(in, "decode_floor_seconds")};
    p.prefill_terms = terms(in.at("prefill_terms"));
    p.decode_terms = terms(in.at("decode_terms"));
  }
  static std::vector<TimeTerm> terms(const YamlNode& list) {
    std::vector<TimeTerm> out;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const YamlNode t = list.at(i);
      out.push_back({t.at("op").text(), {real(t, "seconds")}, t.at("limited_by").text()});
    }
    return out;
  }
  static Phase phase(const YamlNode& node) {
    return static_cast<Phase>(choice(node.at("phase"), {"load", "prefill", "decode"}));
  }
  static LedgerRow row(const YamlNode& in) {
    in.allow_only({"tier", "category", "name", "phase", "bytes", "formula"});
    LedgerRow row;
    row.tier = static_cast<TierKind>(choice(in.at("tier"), {"device", "host", "disk"}));
    row.category = static_cast<Category>(choice(
        in.at("category"),
        {"weights", "kv_cache", "activations", "workspace", "runtime", "comm", "graphs", "draft"}));
    row.name = in.at("name").text();
    row.phase = phase(in);
    row.bytes = {count(in, "bytes")};
    row.formula = in.at("formula").text();
    return row;
  }
  static void ledger(const YamlNode& list, Ledger& ledger) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const YamlNode group = list.at(i);
      group.allow_only({"ranks", "rows"});
      const std::int64_t first = group.at("ranks").at("first").integer(0, 65536);
      const std::int64_t last = group.at("ranks").at("last").integer(first, 65536);
      std::vector<LedgerRow> rows;
      const YamlNode row_list = group.at("rows");
      for (std::size_t r = 0; r < row_list.size(); ++r) rows.push_back(row(row_list.at(r)));
      for (std::int64_t rank = first; rank <= last; ++rank) {
        for (LedgerRow copy : rows) {
          copy.rank = static_cast<int>(rank);
          ledger.add(std::move(copy));
        }
      }
    }
  }

  const YamlNode& root_;
};

}  // namespace

Plan read_plan(const std::string& yaml_text, const std::string& file_name) {
  const YamlNode root = YamlNode::parse(yaml_text, file_name);
  return Reader(root).run();
}

}  // namespace vramplan
