#pragma once
// DeviceCard: what one device and its node can do. Every number carries its evidence and source.
// A capacity is what the driver can hand out, not the number on the box.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

enum class Evidence : std::uint8_t { kDatasheet, kMeasured, kAssumed };

template <class T>
struct Sourced {
  T value{};
  Evidence evidence = Evidence::kAssumed;
  std::string source;
};

enum class DeviceKind : std::uint8_t { kGpu, kCpu, kSram };
enum class LinkKind : std::uint8_t { kSram, kHbm, kNvlink, kPcie, kNetwork, kNvme, kWan };

struct Link {
  LinkKind kind = LinkKind::kPcie;
  Sourced<double> bytes_per_s;  // one direction
  Sourced<double> latency_s;
  // Of a disk that calibrate timed as a cache beyond the device uses it. Unset: writing is as
  // reading, and computing takes nothing away.
  Sourced<double> write_bytes_per_s{}, write_latency_s{};
  Sourced<double> overlap{};  // share hidden of a transfer beside as long a computation, 0..1
};
/// Seconds of one transfer that is not empty: latency + bytes / rate.
Seconds read_seconds(const Link& link, Bytes bytes);
Seconds write_seconds(const Link& link, Bytes bytes);

/// One measured cost line: seconds = call_s + bytes / bytes_per_s + flops / flops_per_s.
/// `op` names an operation (embed norm linear linear_decode linear_f32 linear_fp8 rope kv_write
/// attention_prefill attention_decode attention_mass_prefill attention_mass_decode
/// attention_history_decode activation add gather all_reduce all_gather send sample sample_beams
/// ...: planner/op_work.h), or `between`, what each takes outside of itself; `dtype` the format of
/// the bytes read, or "any".
struct OpCost {
  std::string op, dtype;
  double call_s = 0, bytes_per_s = 0, flops_per_s = 0;  // 0 = no such term
};

struct DeviceCard {
  std::string name;   // h100-sxm-80gb
  std::string title;  // NVIDIA H100 SXM5 80 GB
  DeviceKind kind = DeviceKind::kGpu;
  Sourced<std::int64_t> capacity_bytes;  // what the driver reports as total
  Sourced<double> memory_bytes_per_s;    // of the device's memory
  std::map<std::string, Sourced<double>>
      flops_per_s;                    // dense peak by dtype: f32 f16 bf16 fp8 int8 fp4
  Sourced<double> memory_efficiency;  // attainable share of the peak, 0..1
  Sourced<double> compute_efficiency;
  Sourced<std::int64_t> multiprocessors;  // SM count, or cores of a CPU
  Sourced<std::int64_t> context_bytes;    // driver context on the device (gpu)
  Sourced<std::int64_t> module_bytes;     // loaded kernels (gpu)
  Sourced<std::int64_t> workspace_bytes;  // GEMM library workspace (gpu)
  Sourced<std::int64_t>
      process_base_bytes;  // resident bytes of the program before a model (cpu, host)
  Sourced<std::int64_t>
      replica_base_bytes;            // of its own that a forked process holds besides tensors (cpu)
  Sourced<double> copy_bytes_per_s;  // one thread's copies within the memory (cpu)
  Sourced<double> copy_overlap;  // share hidden of a copy beside as long a computation (cpu), 0..1
  Sourced<std::int64_t> comm_bytes;           // communicator buffers per rank when count > 1
  Sourced<std::int64_t> graph_node_bytes;     // of a node of an instantiated graph (gpu)
  Sourced<double> launch_s;                   // spacing of two small operations
  Sourced<std::int64_t> host_capacity_bytes;  // memory of the node
  Sourced<std::int64_t> devices_per_node;
  Sourced<double> price_per_hour_usd;
  std::vector<Link> links;       // from the device outwards
  std::vector<OpCost> op_costs;  // written by calibrate; empty = analytic model
};

/// The machine as one of `replicas` processes that all compute sees it: cores and memory are
/// shared, so that bytes and flops take that many times as long; a call does not.
DeviceCard shared_by(const DeviceCard& device, std::int64_t replicas);
/// What a process forked from another holds of its own besides tensors and blocks where a card says
/// nothing: pages of the heap, libraries' data and stacks that it writes. Seen as 0.38 MiB with 1
/// thread on a 64-bit Linux; allocators differ.
inline constexpr Bytes kReplicaBase{1 << 20};
/// `replica_base_bytes` of the card, or kReplicaBase.
Bytes replica_base(const DeviceCard& device);

/// Errors: kBadCard naming the field: missing or out of range, a number without a source, an
/// unknown operation in op_costs, overhead above the capacity.
void validate(const DeviceCard& card);
/// Card file (YAML, see modelcards/devices/README.md) -> card. Errors: kBadYaml, kBadCard.
DeviceCard parse_device_card(const std::string& yaml_text, const std::string& file_name);
/// YAML that parse_device_card reads back to the same card, every double to the bit.
std::string write_device_card(const DeviceCard& card);

}  // namespace vramplan
