#include "modelcards/device_card.h"

#include <cmath>
#include <cstdio>
#include <set>

#include "modelcards/dtype.h"
#include "modelcards/nearest_names.h"
#include "modelcards/yaml.h"
#include "modelcards/yaml_text.h"

namespace vramplan {
namespace {

const std::vector<std::string> kEvidenceWords{"datasheet", "measured", "assumed"};
const std::vector<std::string> kKindWords{"gpu", "cpu", "sram"};
const std::vector<std::string> kLinkWords{"sram",    "hbm",  "nvlink", "pcie",
                                          "network", "nvme", "wan"};
const std::vector<std::string> kOpWords{"embed",
                                        "norm",
                                        "linear",
                                        "linear_decode",
                                        "rope",
                                        "kv_write",
                                        "attention_prefill",
                                        "attention_decode",
                                        "attention_mass_prefill",
                                        "attention_mass_decode",
                                        "activation",
                                        "add",
                                        "gather",
                                        "all_reduce",
                                        "all_gather",
                                        "send",
                                        "sample",
                                        "linear_f32",
                                        "linear_f32_decode",
                                        "linear_fp8",
                                        "linear_fp8_decode",
                                        "attention_history_prefill",
                                        "attention_history_decode",
                                        "sample_beams",
                                        "between"};

constexpr std::int64_t kMaxBytes = std::int64_t{1} << 50;
constexpr double kMaxRate = 1e21;
constexpr double kMaxSeconds = 1e4;

/// f(name, member, low, high) of every sourced number, in the order of a card file.
template <class F>
void each_number(F&& f) {
  f("capacity_bytes", &DeviceCard::capacity_bytes, std::int64_t{1}, kMaxBytes);
  f("memory_bytes_per_s", &DeviceCard::memory_bytes_per_s, 1.0, kMaxRate);
  f("memory_efficiency", &DeviceCard::memory_efficiency, 1e-6, 1.0);
  f("compute_efficiency", &DeviceCard::compute_efficiency, 1e-6, 1.0);
  f("multiprocessors", &DeviceCard::multiprocessors, std::int64_t{1}, std::int64_t{1} << 24);
  f("context_bytes", &DeviceCard::context_bytes, std::int64_t{0}, kMaxBytes);
  f("module_bytes", &DeviceCard::module_bytes, std::int64_t{0}, kMaxBytes);
  f("workspace_bytes", &DeviceCard::workspace_bytes, std::int64_t{0}, kMaxBytes);
  f("process_base_bytes", &DeviceCard::process_base_bytes, std::int64_t{0}, kMaxBytes);
  f("replica_base_bytes", &DeviceCard::replica_base_bytes, std::int64_t{0}, kMaxBytes);
  f("copy_bytes_per_s", &DeviceCard::copy_bytes_per_s, 1.0, kMaxRate);
  f("copy_overlap", &DeviceCard::copy_overlap, 0.0, 1.0);
  f("comm_bytes", &DeviceCard::comm_bytes, std::int64_t{0}, kMaxBytes);
  f("graph_node_bytes", &DeviceCard::graph_node_bytes, std::int64_t{0}, std::int64_t{1} << 30);
  f("launch_s", &DeviceCard::launch_s, 0.0, kMaxSeconds);
  f("host_capacity_bytes", &DeviceCard::host_capacity_bytes, std::int64_t{1}, kMaxBytes);
  f("devices_per_node", &DeviceCard::devices_per_node, std::int64_t{1}, std::int64_t{1} << 20);
  f("price_per_hour_usd", &DeviceCard::price_per_hour_usd, 0.0, 1e9);
}

/// f(name, member, low, high) of what only some links say.
template <class F>
void each_of_a_disk(F&& f) {
  f("write_bytes_per_s", &Link::write_bytes_per_s, 1.0, kMaxRate);
  f("write_latency_s", &Link::write_latency_s, 0.0, kMaxSeconds);
  f("overlap", &Link::overlap, 0.0, 1.0);
}

const std::set<std::string> kRequired{
    "capacity_bytes",  "memory_bytes_per_s", "memory_efficiency", "compute_efficiency",
    "multiprocessors", "launch_s",           "devices_per_node"};
const std::set<std::string> kRequiredOfGpu{"context_bytes",   "module_bytes",
                                           "workspace_bytes", "process_base_bytes",
                                           "comm_bytes",      "graph_node_bytes"};

bool is_required(const std::string& name, DeviceKind kind) {
  return kRequired.count(name) > 0 ||
         (kind == DeviceKind::kGpu && kRequiredOfGpu.count(name) > 0) ||
         (kind == DeviceKind::kCpu && name == "process_base_bytes");
}

template <class T>
bool is_given(const Sourced<T>& number) {
  return number.value != T{} || !number.source.empty();
}

[[noreturn]] void contradiction(const DeviceCard& card, const std::string& field,
                                const std::string& message, const std::string& fix) {
  throw Error(ErrorCode::kBadCard, message).at(card.name, field).help(fix);
}

template <class T>
void check_number(const DeviceCard& card, const std::string& field, const Sourced<T>& number, T low,
                  T high) {
  const bool finite = std::isfinite(static_cast<double>(number.value));
  if (!finite || number.value < low || number.value > high) {
    contradiction(card, field, field + " is outside its range", "see modelcards/devices/README.md");
  }
  if (number.source.empty()) {
    contradiction(card, field, field + " has no source", "say where the number comes from");
  }
}

/// The DType's own word: f8 and fp8 are one. fp4 has peaks but no DType yet. Empty when unknown.
std::string peak_word(const std::string& key) {
  if (key == "fp4") return key;
  const auto dtype = dtype_from_name(key);
  const bool plain = dtype && !is_block_quantised(*dtype) && packed_rule(*dtype) == nullptr;
  return plain ? info(*dtype).name : "";
}

void check_op_cost(const DeviceCard& card, const std::string& where, const OpCost& cost) {
  bool known = false;
  for (const std::string& word : kOpWords) known = known || word == cost.op;
  if (!known) {
    contradiction(card, where + ".op", "'" + cost.op + "' is no operation",
                  did_you_mean(cost.op, kOpWords));
  }
  if (cost.dtype.empty())
    contradiction(card, where + ".dtype", "dtype is empty", "a format, or any");
  for (const double value : {cost.call_s, cost.bytes_per_s, cost.flops_per_s}) {
    if (!std::isfinite(value) || value < 0) {
      contradiction(card, where, "a cost is negative or not finite", "calibrate the machine again");
    }
  }
  if (cost.call_s <= 0 && cost.bytes_per_s <= 0 && cost.flops_per_s <= 0) {
    contradiction(card, where, "a cost line has no term",
                  "give call_s, bytes_per_s or flops_per_s");
  }
}

// --- reading ---

template <class Word>
Word read_word(const YamlNode& node, const std::vector<std::string>& known) {
  const std::string word = node.text();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i] == word) return static_cast<Word>(i);
  }
  node.fail(in_quotes(word) + " is unknown", did_you_mean(word, known));
}

void read_number(const YamlNode& node, std::int64_t& out, std::int64_t low, std::int64_t high) {
  out = node.integer(low, high);
}
void read_number(const YamlNode& node, double& out, double low, double high) {
  out = node.real(low, high);
}

template <class T>
Sourced<T> read_sourced(const YamlNode& node, T low, T high) {
  node.allow_only({"value", "evidence", "source"});
  Sourced<T> out;
  read_number(node.at("value"), out.value, low, high);
  out.evidence = read_word<Evidence>(node.at("evidence"), kEvidenceWords);
  out.source = node.at("source").text();
  if (out.source.empty())
    node.at("source").fail("the source is empty", "say where the number comes from");
  return out;
}

Link read_link(const YamlNode& node) {
  node.allow_only(
      {"kind", "bytes_per_s", "latency_s", "write_bytes_per_s", "write_latency_s", "overlap"});
  Link link;
  link.kind = read_word<LinkKind>(node.at("kind"), kLinkWords);
  link.bytes_per_s = read_sourced<double>(node.at("bytes_per_s"), 1.0, kMaxRate);
  link.latency_s = read_sourced<double>(node.at("latency_s"), 0.0, kMaxSeconds);
  each_of_a_disk([&](const char* name, auto member, double low, double high) {
    if (node.has(name)) link.*member = read_sourced<double>(node.at(name), low, high);
  });
  return link;
}

OpCost read_op_cost(const YamlNode& node) {
  node.allow_only({"op", "dtype", "call_s", "bytes_per_s", "flops_per_s"});
  OpCost cost;
  cost.op = node.at("op").text();
  cost.dtype = node.text_or("dtype", "any");
  cost.call_s = node.real_or("call_s", 0, 0, kMaxSeconds);
  cost.bytes_per_s = node.real_or("bytes_per_s", 0, 0, kMaxRate);
  cost.flops_per_s = node.real_or("flops_per_s", 0, 0, kMaxRate);
  return cost;
}

void read_lists(const YamlNode& root, DeviceCard& card) {
  const YamlNode peaks = root.at("flops_per_s");
  for (const std::string& key : peaks.keys()) {
    const std::string word = peak_word(key);
    if (word.empty() || card.flops_per_s.count(word) > 0) {
      peaks.at(key).fail("no peak can be given for " + in_quotes(key),
                         "one each of f32, f16, bf16, fp8, int8, fp4");
    }
    card.flops_per_s[word] = read_sourced<double>(peaks.at(key), 1.0, kMaxRate);
  }
  if (root.has("links")) {
    const YamlNode links = root.at("links");
    for (std::size_t i = 0; i < links.size(); ++i) card.links.push_back(read_link(links.at(i)));
  }
  if (root.has("op_costs")) {
    const YamlNode costs = root.at("op_costs");
    for (std::size_t i = 0; i < costs.size(); ++i)
      card.op_costs.push_back(read_op_cost(costs.at(i)));
  }
}

// --- writing ---

std::string number_text(std::int64_t value) { return std::to_string(value); }
std::string number_text(double value) {
  char out[40];
  std::snprintf(out, sizeof out, "%.17g", value);  // 17 digits: reads back to the same double
  return out;
}

template <class T>
std::string sourced_text(const Sourced<T>& number) {
  return "{value: " + number_text(number.value) +
         ", evidence: " + kEvidenceWords.at(static_cast<std::size_t>(number.evidence)) +
         ", source: " + yaml_quoted(number.source) + "}\n";
}

}  // namespace

void validate(const DeviceCard& card) {
  each_number([&](const char* name, auto member, auto low, auto high) {
    const auto& number = card.*member;
    if (!is_given(number)) {
      if (!is_required(name, card.kind)) return;
      contradiction(card, name, std::string(name) + " is missing",
                    "give value, evidence and source");
    }
    check_number(card, name, number, low, high);
  });
  if (card.flops_per_s.empty()) {
    contradiction(card, "flops_per_s", "no peak is given", "give at least one of f32, f16, bf16");
  }
  for (const auto& [dtype, peak] : card.flops_per_s) {
    if (peak_word(dtype) != dtype) {
      contradiction(card, "flops_per_s." + dtype, in_quotes(dtype) + " has no peak",
                    "one each of f32, f16, bf16, fp8, int8, fp4");
    }
    check_number(card, "flops_per_s." + dtype, peak, 1.0, kMaxRate);
  }
  for (std::size_t i = 0; i < card.links.size(); ++i) {
    const std::string where = "links[" + std::to_string(i) + "]";
    check_number(card, where + ".bytes_per_s", card.links[i].bytes_per_s, 1.0, kMaxRate);
    check_number(card, where + ".latency_s", card.links[i].latency_s, 0.0, kMaxSeconds);
    each_of_a_disk([&](const char* name, auto member, double low, double high) {
      const Sourced<double>& number = card.links[i].*member;
      if (is_given(number)) check_number(card, where + "." + name, number, low, high);
    });
  }
  for (std::size_t i = 0; i < card.op_costs.size(); ++i) {
    check_op_cost(card, "op_costs[" + std::to_string(i) + "]", card.op_costs[i]);
  }
  const std::int64_t overhead = card.context_bytes.value + card.module_bytes.value +
                                card.workspace_bytes.value + card.comm_bytes.value;
  if (overhead >= card.capacity_bytes.value) {
    contradiction(card, "capacity_bytes", "the run-time overhead alone exceeds the capacity",
                  "check context_bytes, module_bytes, workspace_bytes, comm_bytes");
  }
}

DeviceCard parse_device_card(const std::string& yaml_text, const std::string& file_name) {
  const YamlNode root = YamlNode::parse(yaml_text, file_name);
  std::vector<std::string> allowed{"name",        "title", "kind",    "notes",
                                   "flops_per_s", "links", "op_costs"};
  each_number([&](const char* name, auto...) { allowed.emplace_back(name); });
  root.allow_only(allowed);
  DeviceCard card;
  card.name = root.at("name").text();
  card.title = root.at("title").text();
  card.kind = read_word<DeviceKind>(root.at("kind"), kKindWords);
  if (root.has("notes")) root.at("notes").text();
  each_number([&](const char* name, auto member, auto low, auto high) {
    if (root.has(name)) {
      card.*member = read_sourced(root.at(name), low, high);
    } else if (is_required(name, card.kind)) {
      root.at(name);  // names the missing key
    }
  });
  read_lists(root, card);
  try {
    validate(card);
  } catch (Error& error) {
    error.at(file_name, error.field());
    throw;
  }
  return card;
}

std::string write_device_card(const DeviceCard& card) {
  std::string out = "name: " + yaml_quoted(card.name) + "\ntitle: " + yaml_quoted(card.title) +
                    "\nkind: " + kKindWords.at(static_cast<std::size_t>(card.kind)) + "\n";
  each_number([&](const char* name, auto member, auto...) {
    if (is_given(card.*member)) out += std::string(name) + ": " + sourced_text(card.*member);
  });
  out += "flops_per_s:\n";
  for (const auto& [dtype, peak] : card.flops_per_s)
    out += "  " + dtype + ": " + sourced_text(peak);
  if (!card.links.empty()) out += "links:\n";
  for (const Link& link : card.links) {
    out += "  - kind: " + kLinkWords.at(static_cast<std::size_t>(link.kind)) +
           "\n    bytes_per_s: " + sourced_text(link.bytes_per_s) +
           "    latency_s: " + sourced_text(link.latency_s);
    each_of_a_disk([&](const char* name, auto member, double, double) {
      if (is_given(link.*member))
        out += "    " + std::string(name) + ": " + sourced_text(link.*member);
    });
  }
  if (!card.op_costs.empty()) out += "op_costs:\n";
  for (const OpCost& cost : card.op_costs) {
    out += "  - {op: " + yaml_quoted(cost.op) + ", dtype: " + yaml_quoted(cost.dtype) +
           ", call_s: " + number_text(cost.call_s) +
           ", bytes_per_s: " + number_text(cost.bytes_per_s) +
           ", flops_per_s: " + number_text(cost.flops_per_s) + "}\n";
  }
  return out;
}

Seconds read_seconds(const Link& link, Bytes bytes) {
  return {link.latency_s.value + static_cast<double>(bytes.n) / link.bytes_per_s.value};
}

Seconds write_seconds(const Link& link, Bytes bytes) {
  if (link.write_bytes_per_s.value <= 0) return read_seconds(link, bytes);
  return {link.write_latency_s.value + static_cast<double>(bytes.n) / link.write_bytes_per_s.value};
}

Bytes replica_base(const DeviceCard& device) {
  const bool known = device.replica_base_bytes.value > 0;
  return known ? Bytes{device.replica_base_bytes.value} : kReplicaBase;
}

DeviceCard shared_by(const DeviceCard& device, std::int64_t replicas) {
  DeviceCard share = device;
  if (replicas == 1) return share;
  const auto parts = static_cast<double>(replicas);
  share.memory_bytes_per_s.value /= parts;
  for (auto& [dtype, peak] : share.flops_per_s) peak.value /= parts;
  for (OpCost& cost : share.op_costs) {
    cost.bytes_per_s /= parts;
    cost.flops_per_s /= parts;
  }
  return share;
}

}  // namespace vramplan
