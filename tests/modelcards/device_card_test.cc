#include "modelcards/device_card.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "modelcards/dtype.h"
#include "modelcards/error.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, "none"};
}

template <class T>
void expect_same(const Sourced<T>& a, const Sourced<T>& b) {
  EXPECT_EQ(std::memcmp(&a.value, &b.value, sizeof a.value), 0) << a.value << " " << b.value;
  EXPECT_EQ(a.evidence, b.evidence);
  EXPECT_EQ(a.source, b.source);
}

void expect_same(const DeviceCard& a, const DeviceCard& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.title, b.title);
  EXPECT_EQ(a.kind, b.kind);
  expect_same(a.capacity_bytes, b.capacity_bytes);
  expect_same(a.memory_bytes_per_s, b.memory_bytes_per_s);
  expect_same(a.memory_efficiency, b.memory_efficiency);
  expect_same(a.compute_efficiency, b.compute_efficiency);
  expect_same(a.multiprocessors, b.multiprocessors);
  expect_same(a.context_bytes, b.context_bytes);
  expect_same(a.module_bytes, b.module_bytes);
  expect_same(a.workspace_bytes, b.workspace_bytes);
  expect_same(a.process_base_bytes, b.process_base_bytes);
  expect_same(a.comm_bytes, b.comm_bytes);
  expect_same(a.graph_node_bytes, b.graph_node_bytes);
  expect_same(a.launch_s, b.launch_s);
  expect_same(a.host_capacity_bytes, b.host_capacity_bytes);
  expect_same(a.devices_per_node, b.devices_per_node);
  expect_same(a.price_per_hour_usd, b.price_per_hour_usd);
  ASSERT_EQ(a.flops_per_s.size(), b.flops_per_s.size());
  for (const auto& [dtype, peak] : a.flops_per_s) expect_same(peak, b.flops_per_s.at(dtype));
  ASSERT_EQ(a.links.size(), b.links.size());
  for (std::size_t i = 0; i < a.links.size(); ++i) {
    EXPECT_EQ(a.links[i].kind, b.links[i].kind);
    expect_same(a.links[i].bytes_per_s, b.links[i].bytes_per_s);
    expect_same(a.links[i].latency_s, b.links[i].latency_s);
  }
  ASSERT_EQ(a.op_costs.size(), b.op_costs.size());
  for (std::size_t i = 0; i < a.op_costs.size(); ++i) {
    EXPECT_EQ(a.op_costs[i].op, b.op_costs[i].op);
    EXPECT_EQ(a.op_costs[i].dtype, b.op_costs[i].dtype);
    EXPECT_EQ(a.op_costs[i].call_s, b.op_costs[i].call_s);
    EXPECT_EQ(a.op_costs[i].bytes_per_s, b.op_costs[i].bytes_per_s);
    EXPECT_EQ(a.op_costs[i].flops_per_s, b.op_costs[i].flops_per_s);
  }
}

TEST(DeviceCard, EveryShippedCardWritesAndReadsBackExactly) {
  for (const std::string& name : device_card_names()) {
    SCOPED_TRACE(name);
    const DeviceCard card = device_card(name);
    expect_same(card, parse_device_card(write_device_card(card), "again.yaml"));
  }
}

TEST(DeviceCard, CalibratedCostsSurviveToTheBit) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> exponent(-9, 15);
  DeviceCard card = device_card("cpu-generic");
  card.title = "AMD EPYC: 2 cores, \"shared\" #1";
  card.price_per_hour_usd = {0.1, Evidence::kAssumed, "a bill"};
  for (const char* op :
       {"linear", "attention_decode", "attention_prefill", "norm", "rope", "kv_write", "activation",
        "add", "embed", "gather", "all_reduce", "all_gather", "send"}) {
    for (const char* dtype : {"any", "q4_1", "f16"}) {
      card.op_costs.push_back({op, dtype, std::pow(10.0, -std::fabs(exponent(random)) / 2),
                               std::pow(10.0, std::fabs(exponent(random))),
                               std::pow(10.0, exponent(random))});
    }
  }
  card.memory_bytes_per_s.value = 1.0 / 3.0 * 1e11;
  const std::string text = write_device_card(card);
  expect_same(card, parse_device_card(text, "calibrated.yaml"));
  EXPECT_EQ(write_device_card(parse_device_card(text, "calibrated.yaml")), text);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(DeviceCard, BadFilesNameTheField) {
  const std::string good = write_device_card(device_card("h100-sxm-80gb"));
  struct Case {
    std::string from, to, field;
  };
  for (const Case& bad : std::vector<Case>{
           {"kind: gpu", "kind: tpu", "kind"},
           {"capacity_bytes: {value: 85", "capacity_bytes: {value: -85", "capacity_bytes.value"},
           {"capacity_bytes: {value: 85", "capacity_bytes: {value: 8.5e", "capacity_bytes.value"},
           {"capacity_bytes:", "capacity_byte:", "capacity_byte"},
           {"launch_s: {value: ", "launch_s: {value: -", "launch_s.value"},
           {"launch_s:", "launch_ms:", "launch_ms"},
           {"evidence: measured", "evidence: rumour", "capacity_bytes.evidence"},
           {"evidence: measured, ", "", "capacity_bytes"},
           {"  f32:", "  f33:", "flops_per_s.f33"},
           {"  f32:", "  q4_1:", "flops_per_s.q4_1"},
           {"  int8:", "  i8: {value: 1, evidence: assumed, source: x}\n  int8:",
            "flops_per_s.int8"},
           {"kind: nvlink", "kind: carrier_pigeon", "links[1].kind"},
       }) {
    SCOPED_TRACE(bad.from + " -> " + bad.to);
    const Error error =
        error_of([&] { parse_device_card(replaced(good, bad.from, bad.to), "bad.yaml"); });
    EXPECT_EQ(error.code(), ErrorCode::kBadYaml);
    EXPECT_EQ(error.field(), bad.field);
    EXPECT_EQ(error.file().rfind("bad.yaml", 0), 0U);
  }
}

TEST(DeviceCard, MissingNumbersAndSourcesAreNamed) {
  const std::string good = write_device_card(device_card("h100-sxm-80gb"));
  for (const char* key :
       {"capacity_bytes", "memory_bytes_per_s", "context_bytes", "comm_bytes", "launch_s"}) {
    const std::size_t begin = good.find(std::string(key) + ":");
    const std::size_t end = good.find('\n', begin);
    std::string text = good;
    text.erase(begin, end - begin + 1);
    const Error error = error_of([&] { parse_device_card(text, "bad.yaml"); });
    EXPECT_NE(error.message().find(key), std::string::npos) << error.what();
  }
  DeviceCard card = device_card("h100-sxm-80gb");
  card.links[2].latency_s.source.clear();
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "links[2].latency_s");
  card = device_card("h100-sxm-80gb");
  card.flops_per_s.clear();
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "flops_per_s");
  card = device_card("h100-sxm-80gb");
  card.memory_efficiency.value = 1.5;
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "memory_efficiency");
  card = device_card("h100-sxm-80gb");
  card.context_bytes.value = card.capacity_bytes.value;
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "capacity_bytes");
  card = device_card("cpu-generic");
  card.op_costs = {{"liner", "any", 1e-6, 0, 0}};
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "op_costs[0].op");
  card.op_costs = {{"linear", "any", 0, 0, 0}};
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "op_costs[0]");
  card.op_costs = {{"linear", "any", std::numeric_limits<double>::infinity(), 0, 0}};
  EXPECT_EQ(error_of([&] { validate(card); }).code(), ErrorCode::kBadCard);
}

TEST(DeviceCard, PeaksGoByTheNameOfTheDtype) {
  const std::string good = write_device_card(device_card("h100-sxm-80gb"));
  const DeviceCard card = parse_device_card(replaced(good, "  fp8:", "  f8:"), "f");
  EXPECT_EQ(card.flops_per_s.count("fp8"), 1U);
  EXPECT_EQ(card.flops_per_s.count(info(DType::kBF16).name), 1U);
  EXPECT_EQ(card.flops_per_s.count(info(DType::kI8).name), 1U);
}

}  // namespace
}  // namespace vramplan
