// The YAML form of a plan, schema vramplan.plan/1: see write_plan and read_plan in plan.h. Integers
// are exact, reals shortest; numbers of more than 63 bits are quoted. Ranks that are alike share
// their rows.
#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <sstream>

#include "modelcards/yaml.h"
#include "planner/plan.h"

namespace vramplan {
namespace {

constexpr const char* kSchema = "vramplan.plan/1";
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr double kMostReal = 1e300;
/// Keys of the decisions, in no order.
constexpr const char* kDecisionKeys =
    "model set card_hash device device_count sharding weights activations kv_format "
    "kv_policy kv_keep samples shared_prefix_tokens kv_placement kv_layout block_tokens kv_blocks "
    "window_pools context_tokens "
    "output_tokens batch prefill_chunk_tokens attention linear_inputs threads seed "
    "capacity_bytes assume_like engine";

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

class Writer {
 public:
  std::string run(const Plan& plan) {
    line("# Written by vramplan plan; read by vramplan run, verify and report.");
    line("schema: {}", kSchema);
    line("verdict: {}", plan.predictions.fits ? "fits" : "does_not_fit");
    decisions(plan.decisions);
    assumptions(plan.assumptions);
    predictions(plan.predictions);
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  void texts(const char* indent, const char* key, const std::vector<std::string>& values) {
    line("{}{}:{}", indent, key, values.empty() ? " []" : "");
    for (const std::string& value : values) line("{}  - {}", indent, yaml_quoted(value));
  }

  void decisions(const Decisions& d) {
    line("decisions:");
    line("  model: {}", yaml_quoted(d.model));
    texts("  ", "set", d.set);
    if (!d.assume_like.empty()) line("  assume_like: {}", yaml_quoted(d.assume_like));
    line("  card_hash: \"0x{:016x}\"", d.card_hash);
    line("  device: {}", yaml_quoted(d.device));
    line("  device_count: {}", d.device_count);
    line("  sharding: {{tp: {}, pp: {}, cp: {}, ep: {}}}", d.sharding.tp, d.sharding.pp,
         d.sharding.cp, d.sharding.ep);
    line("  weights: {}", d.weights ? info(*d.weights).name : "stored");
    line("  activations: {}", info(d.activations).name);
    line("  kv_format: {}", name_of(d.kv_format));
    line("  kv_policy: {}", name_of(d.kv_policy));
    if (d.kv_policy == KvPolicy::kSinkWindow || d.kv_policy == KvPolicy::kMass) {
      line("  kv_keep: {{sink_tokens: {}, window_tokens: {}, budget_tokens: {}, score: {}}}",
           d.kv_keep.sinks.n, d.kv_keep.window.n, d.kv_keep.budget.n, name_of(d.kv_score));
    }
    line("  kv_placement: device");
    line("  kv_layout: {}", name_of(d.kv_layout));
    line("  block_tokens: {}", d.block.n);
    line("  kv_blocks: {}", d.kv_blocks.n);
    line("  window_pools:{}", d.window_pools.empty() ? " []" : "");
    for (const WindowPool& pool : d.window_pools) {
      line("    - {{window_tokens: {}, blocks: {}}}", pool.window.n, pool.blocks.n);
    }
    line("  context_tokens: {}", d.context.n);
    line("  output_tokens: {}", d.output.n);
    line("  batch: {}", d.batch);
    line("  samples: {}", d.samples);
    line("  shared_prefix_tokens: {}", d.shared_prefix.n);
    line("  prefill_chunk_tokens: {}", d.prefill_chunk.n);
    line("  attention: {}", name_of(d.attention));
    line("  linear_inputs: {}", info(d.linear_inputs).name);
    line("  threads: {}", d.threads);
    line("  seed: \"{}\"", d.seed);
    line("  capacity_bytes: {}", d.capacity.n);
    if (d.engine) out_ += "  engine:\n" + write_engine_decision(*d.engine, "    ");
  }

  void assumptions(const std::vector<Assumption>& assumptions) {
    line("assumptions:{}", assumptions.empty() ? " []" : "");
    for (const Assumption& a : assumptions) {
      line("  - what: {}", yaml_quoted(a.what));
      line("    value: {}", yaml_quoted(a.value));
      line("    flag: {}", yaml_quoted(a.flag));
    }
  }

  void predictions(const Predictions& p) {
    line("predictions:");
    line("  missing_bytes: {}", p.missing.n);
    line("  binding_constraint: {}", yaml_quoted(p.binding_constraint));
    texts("  ", "advice", p.advice);
    line("  totals:");
    line("    parameters: {}", p.totals.parameters.n);
    line("    active_parameters: {}", p.totals.active_parameters.n);
    line("    weight_bytes: {}", p.totals.weight_bytes.n);
    line("    kv_bytes_per_token: {}", p.totals.kv_bytes_per_token.n);
    line("    kv_bytes: {}", p.totals.kv_bytes.n);
    line("  capacity:");
    line("    max_context_tokens: {}", p.capacity.max_context.n);
    line("    max_sequences: {}", p.capacity.max_sequences);
    line("    kv_tokens: {}", p.capacity.kv_tokens.n);
    line("    kv_equals_weights_tokens: {}", p.capacity.kv_equals_weights.n);
    performance(p.performance);
    line("  curve:{}", p.curve.empty() ? " []" : "");
    for (const CurvePoint& point : p.curve) {
      line("    - {{at_seconds: {}, phase: {}, bytes: {}}}", point.at.v, name_of(point.phase),
           point.bytes.n);
    }
    line("  devices:{}", p.devices.empty() ? " []" : "");
    for (const DevicePrediction& d : p.devices) {
      line("    - {{rank: {}, capacity_bytes: {}, predicted_bytes: {}, headroom_bytes: {}}}",
           d.rank, d.capacity.n, d.predicted.n, d.headroom.n);
    }
    ledger(p.ledger);
  }

  void performance(const Performance& p) {
    line("  performance:");
    line("    ttft_seconds: {}", p.ttft.v);
    line("    tpot_seconds: {}", p.tpot.v);
    line("    tokens_per_second: {}", p.tokens_per_second);
    line("    prefill_tokens_per_second: {}", p.prefill_tokens_per_second);
    line("    limited_by: {}", yaml_quoted(p.limited_by));
    line("    decode_floor_seconds: {}", p.decode_floor.v);
    terms("prefill_terms", p.prefill_terms);
    terms("decode_terms", p.decode_terms);
  }

  void terms(const char* key, const std::vector<TimeTerm>& list) {
    line("    {}:{}", key, list.empty() ? " []" : "");
    for (const TimeTerm& term : list) {
      line("      - {{op: {}, seconds: {}, limited_by: {}}}", yaml_quoted(term.op), term.seconds.v,
           yaml_quoted(term.limited_by));
    }
  }

  static std::string row_text(const LedgerRow& row) {
    return fmt::format(
        "        - {{tier: {}, category: {}, name: {}, phase: {}, bytes: {},\n           formula: "
        "{}}}",
        name_of(row.tier), name_of(row.category), yaml_quoted(row.name), name_of(row.phase),
        row.bytes.n, yaml_quoted(row.formula));
  }

  void ledger(const Ledger& ledger) {
    const std::vector<LedgerRow>& rows = ledger.rows();
    line("  ledger:{}", rows.empty() ? " []" : "");
    int first = 0, last = -1;
    std::string shared;
    const auto flush = [&] {
      if (last < first) return;
      line("    - ranks: {{first: {}, last: {}}}", first, last);
      line("      rows:");
      out_ += shared;
    };
    for (std::size_t i = 0; i < rows.size();) {
      const int rank = rows[i].rank;
      std::string text;
      for (; i < rows.size() && rows[i].rank == rank; ++i) text += row_text(rows[i]) + "\n";
      if (last >= first && rank == last + 1 && text == shared) {
        last = rank;
        continue;
      }
      flush();
      first = last = rank;
      shared = std::move(text);
    }
    flush();
  }

  std::string out_;
};

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
    decisions(root_.at("decisions"), plan.decisions);
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

  static void decisions(const YamlNode& in, Decisions& d) {
    in.allow_only(words(kDecisionKeys));
    d.model = in.at("model").text();
    d.set = texts(in.at("set"));
    if (in.has("assume_like")) d.assume_like = in.at("assume_like").text();
    if (in.has("engine")) d.engine = read_engine_decision(in.at("engine"));
    d.card_hash = wide(in.at("card_hash"), 16);
    d.device = in.at("device").text();
    d.device_count = small(in, "device_count");
    const YamlNode sharding = in.at("sharding");
    sharding.allow_only({"tp", "pp", "cp", "ep"});
    d.sharding = {small(sharding, "tp"), small(sharding, "pp"), small(sharding, "cp"),
                  small(sharding, "ep")};
    if (in.at("weights").text() != "stored") d.weights = dtype(in.at("weights"));
    d.activations = dtype(in.at("activations"));
    d.kv_format = static_cast<KvFormat>(
        choice(in.at("kv_format"), {"f32", "f16", "bf16", "fp8", "int8", "int4", "q8_0", "q4_0",
                                    "nvfp4", "kivi2", "fp8_ds_mla", "nvfp4_ds_mla"}));
    d.kv_policy = static_cast<KvPolicy>(
        choice(in.at("kv_policy"), words("keep_all window sink_window mass")));
    if (d.kv_policy == KvPolicy::kSinkWindow || d.kv_policy == KvPolicy::kMass) {
      const YamlNode keep = in.at("kv_keep");
      keep.allow_only({"sink_tokens", "window_tokens", "budget_tokens", "score"});
      d.kv_keep = {{count(keep, "sink_tokens")},
                   {count(keep, "window_tokens")},
                   {count(keep, "budget_tokens")}};
      d.kv_score = static_cast<KvScore>(choice(keep.at("score"), {"sum", "decayed"}));
    }
    choice(in.at("kv_placement"), {"device"});
    d.kv_layout = static_cast<KvLayout>(choice(in.at("kv_layout"), {"paged", "contiguous"}));
    d.block = {count(in, "block_tokens", 1)};
    d.kv_blocks = {count(in, "kv_blocks")};
    const YamlNode pools = in.at("window_pools");
    for (std::size_t i = 0; i < pools.size(); ++i) {
      pools.at(i).allow_only({"window_tokens", "blocks"});
      d.window_pools.push_back(
          {{count(pools.at(i), "window_tokens", 1)}, {count(pools.at(i), "blocks")}});
    }
    d.context = {count(in, "context_tokens", 2)};
    d.output = {count(in, "output_tokens", 1)};
    d.batch = count(in, "batch", 1);
    d.samples = count(in, "samples", 1);
    d.shared_prefix = {count(in, "shared_prefix_tokens")};
    d.prefill_chunk = {count(in, "prefill_chunk_tokens", 1)};
    d.attention = static_cast<AttentionAlgorithm>(choice(in.at("attention"), {"tiled", "naive"}));
    d.linear_inputs =
        choice(in.at("linear_inputs"), {"int8", "f32"}) == 0 ? DType::kI8 : DType::kF32;
    d.threads = small(in, "threads");
    d.seed = wide(in.at("seed"), 10);
    d.capacity = {count(in, "capacity_bytes")};
    if (d.output >= d.context) in.at("output_tokens").fail("leaves no prompt in the context");
  }

  static void predictions(const YamlNode& in, Predictions& p) {
    in.allow_only({"missing_bytes", "binding_constraint", "advice", "totals", "capacity",
                   "performance", "curve", "devices", "ledger"});
    p.missing = {count(in, "missing_bytes")};
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

std::string write_plan(const Plan& plan) { return Writer().run(plan); }

Plan read_plan(const std::string& yaml_text, const std::string& file_name) {
  const YamlNode root = YamlNode::parse(yaml_text, file_name);
  return Reader(root).run();
}

}  // namespace vramplan
