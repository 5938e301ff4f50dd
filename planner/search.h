#pragma once
// Search: every strategy of device x count x sharding x formats x batch that meets the limits, and
// what is best by price, size and speed. A strategy is evaluated in closed form: what does not
// depend on the device is worked out once a sharding and format, the rest is a few sums. Bytes are
// the planner's to the byte, seconds its sum of the same terms; tests hold both.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/account.h"
#include "planner/plan.h"

namespace vramplan {

/// What a strategy may lose of the model: nothing, what 8 bits lose, or what 4 bits lose.
enum class Quality : std::uint8_t { kLossless, kEightBit, kFourBit };
const char* name_of(Quality quality);  // lossless eight_bit four_bit

struct SearchLimits {
  std::optional<Seconds> ttft, tpot;
  std::optional<double> tokens_per_second;  // decode, of the whole fleet
  std::optional<double> usd_per_hour;
  std::optional<std::int64_t> sequences;  // of the whole fleet, at the same time
  Quality quality = Quality::kFourBit;    // the most that may be lost
  int most_devices = 64;
};

struct SearchRequest {
  PlanRequest plan;  // model, context, output, prefill chunk; the rest is searched
  std::vector<DeviceCard> devices;
  /// By device card, of one device; 0 is a price: what is owned already. A card that is not here
  /// and has no price of its own has no known price.
  std::map<std::string, double> usd_per_hour;
  SearchLimits limits;
  /// Where the cache may live. Beyond the device it is tried where it does not fit on the device:
  /// elsewhere it only waits longer.
  std::vector<KvPlacement> placements = {KvPlacement::kDevice};
  /// Whether matrices may live in host memory, where they do not fit on the device.
  bool weights_on_host = false;
  /// With weights_on_host: whether prompts of several chunks may also go layer by layer, their
  /// hidden states in host memory, so that a layer comes in once a prompt.
  bool hidden_on_host = false;
};

/// Where a strategy keeps what does not stay on the device.
struct SearchTier {
  KvPlacement cache = KvPlacement::kDevice;
  bool weights_on_host = false;                     // the matrices of all layers
  bool hidden_on_host = false;                      // a prompt's hidden states, between layers
  static constexpr std::int64_t kStagedLayers = 2;  // one computes while the next comes in
  bool operator==(const SearchTier&) const = default;
};
const char* name_of(const SearchTier& tier);  // device host disk weights_host weights_hidden_host

/// One strategy: `replicas` copies of a model on tp x pp x cp devices each.
struct Strategy {
  std::uint16_t device = 0;  // index into SearchRequest::devices
  std::uint16_t tp = 1, pp = 1, cp = 1;
  std::uint16_t ep = 1;  // 1 or tp: whether the tensor ranks share whole experts
  std::uint16_t replicas = 1;
  std::uint8_t format = 0, kv_format = 0;  // indices into the tables of StrategySpace
  std::uint8_t tier = 0;                   // index into StrategySpace::tiers()
  std::int64_t batch = 1;                  // of one replica

  int ranks() const { return tp * pp * cp; }
  int devices() const { return ranks() * replicas; }
};

struct Evaluation {
  Strategy strategy;
  Bytes peak;  // of the fullest rank
  Bytes headroom;
  Seconds ttft, tpot;
  double tokens_per_second = 0;        // decode, all replicas
  std::optional<double> usd_per_hour;  // nothing: no price is known
  int nodes = 1;
  bool fits = false;
  std::optional<double> usd_per_million_tokens() const;
};

struct WeightChoice {
  std::string name;  // stored, or the format's name
  std::optional<DType> dtype;
  Quality quality = Quality::kLossless;
};
struct KvChoice {
  KvFormat format = KvFormat::kBF16;
  Quality quality = Quality::kLossless;
};

/// Everything that does not depend on the device, worked out once.
class StrategySpace {
 public:
  /// Errors: kUsage, kUnsupported as make_plan; kUnsupported for a device card with measured cost
  /// lines.
  StrategySpace(const ModelSource& source, const SearchRequest& request);

  /// One strategy: its accounts were worked out with the space, this reads them and adds a few
  /// products. Errors: none; a batch that is not in batches() is our
  /// bug. A strategy that is not in strategies() has no seconds and does not fit.
  Evaluation evaluate(const Strategy& strategy) const;
  /// The same as decisions for make_plan.
  PlanRequest plan_request(const Strategy& strategy) const;

  const std::vector<std::int64_t>& batches() const { return batches_; }
  const std::vector<WeightChoice>& weights() const { return weights_; }
  const std::vector<KvChoice>& kv_formats() const { return kv_formats_; }
  const std::vector<SearchTier>& tiers() const { return tiers_; }
  /// Every strategy with one replica.
  std::vector<Strategy> strategies() const;

 private:
  struct Link {
    double call_s = 0, byte_s = 0;
  };
  struct Device {
    Bytes capacity, runtime_one, runtime_many, gemm, graph_node;
    std::size_t slot = 0;  // of its number of multiprocessors
    double launch_s = 0, byte_s = 0;
    double flop_s[3] = {0, 0, 0};
    std::map<int, Link> links;  // by ranks that take part
    std::int64_t node = 8;
    std::optional<double> usd_per_hour;
  };
  /// Sums over a pass; seconds of a device are a dot product with them.
  struct Work {
    double calls = 0, bytes = 0, flops[3] = {0, 0, 0};
    double link_calls = 0, link_bytes = 0;  // of collectives over tp ranks
    double send_calls = 0, send_bytes = 0;  // between stages
    double ring_calls = 0, ring_bytes = 0;  // between context parallel ranks
    void add(const Work& other, int count);
  };
  using Peaks = std::vector<std::vector<Bytes>>;  // of the fullest stage, by batch and device
  /// A tier beyond the device: what passes wait for it, below 0 where it is not tried.
  struct FarTier {
    Peaks peaks;
    std::vector<std::vector<double>> decode_stall;  // by batch and device
    std::vector<double> prefill_stall;              // by device
  };
  struct Shard {
    Sharding sharding;
    std::size_t format = 0, kv_format = 0;
    Work prefill;
    Peaks peaks;
    std::vector<Work> decode;  // by batch
    std::vector<FarTier> far;  // by tier after the first, which is the device
    std::vector<Link> tp_links, send_links, ring_links;  // by device
  };

  /// Bytes of devices, before the shards that need them; seconds after, when all are known.
  void add_devices(const TokenizerTables& tables);
  void add_shards(const ModelSource& source);
  /// Every sharding of at most `most_devices` that is valid for the model, in powers of two.
  std::vector<Sharding> shardings(const ModelCard& card) const;
  void add_seconds();
  /// Of passes that hold the peak, by number of multiprocessors.
  std::vector<Bytes> extents(const RankModel& model, const Decisions& decisions,
                             const std::vector<PassShape>& passes) const;
  /// Of a stage's passes: of a prompt, and of a step by batch. KV formats share them, but for
  /// context parallel ranks, which hold what goes round, and for residual windows.
  struct StageExtents {
    std::vector<Bytes> prefill;
    std::vector<std::vector<Bytes>> decode;
  };
  StageExtents stage_extents(const StageAccount& account, const Decisions& decisions) const;
  /// The peaks of one stage on every device, and of every batch, into `peaks`.
  void add_peaks(const StageAccount& account, const Decisions& decisions,
                 const StageExtents& extents, Peaks& peaks) const;
  /// Stages that differ, each with the first of those that are alike, and how many these are.
  struct StageClass {
    int first = 0, count = 1;
    StageAccount account;
    Work prefill;
    std::vector<Work> decode;  // by batch
  };
  using Stages = std::vector<StageClass>;
  /// Stages with equal ones are alike: the first or the last, the kinds of their layers in the
  /// order they come first, and how often each follows each, which is all that norms made with the
  /// sum before them and the activations' moments depend on.
  std::vector<int> alike_by(int pp, int stage) const;
  FarTier far_tier(const ModelSource& source, const Stages& stages, const Shard& shard,
                   Decisions decisions, const SearchTier& tier) const;
  StageAccount stage_account(const ModelSource& source, const Decisions& decisions,
                             int stage) const;
  Peaks no_peaks() const;
  /// `known`: extents of its different stages, those there already and, behind them, the others.
  Shard make_shard(const ModelSource& source, Decisions decisions, std::size_t format,
                   std::size_t kv_format, std::vector<StageExtents>& known);
  void add_work(const std::vector<struct OpWork>& works, const Sharding& sharding, Work& sum);
  double seconds(const Work& work, const Device& device, const Shard& shard,
                 std::size_t device_index) const;
  std::size_t compute_slot(DType dtype);

  SearchRequest request_;
  Decisions base_;
  std::vector<int> kind_of_layer_;  // of the whole model: equal numbers are equal layers
  std::int64_t layer_count_ = 0;
  std::vector<Device> devices_;
  std::vector<int> multiprocessors_;  // the different numbers of them
  std::vector<WeightChoice> weights_;
  std::vector<KvChoice> kv_formats_;
  std::vector<SearchTier> tiers_;
  std::vector<std::int64_t> batches_;
  std::vector<Shard> shards_;
  std::vector<int> shard_index_;  // [log2 tp][pp][cp][ep][format][kv], -1 = not valid
  std::vector<DType> computes_;
  Tokens mean_context() const;
  std::size_t index_of(const Sharding& sharding, std::size_t format, std::size_t kv) const;
};

/// What one more of something costs or buys at a strategy.
struct ShadowPrice {
  std::string what;  // "+1 GiB of device memory"
  std::string buys;
};

struct SearchResult {
  std::int64_t evaluated = 0, fitting = 0, within_limits = 0;
  std::vector<Evaluation> front;  // no other is better in price, tpot and tokens/s at once
  std::optional<Evaluation> cheapest, smallest, fastest;
  std::vector<ShadowPrice> shadow_prices;  // at `smallest`
  std::string binding;                     // why nothing fits, when nothing does
  std::vector<Assumption> assumptions;
};

/// The golden rule decides ties and `smallest`: fewest devices, then fewest machines, then price,
/// then speed. Errors: as StrategySpace; kUsage for limits below zero.
SearchResult search(const ModelSource& source, const SearchRequest& request);
SearchResult search(const StrategySpace& space, const SearchRequest& request);

}  // namespace vramplan
