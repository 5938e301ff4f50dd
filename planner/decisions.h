#pragma once
// Decisions: everything that was chosen, and nothing that was predicted. This is all the executor
// is given: its type cannot see a prediction, so a measured number cannot be computed from a
// predicted one.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "modelcards/dtype.h"
#include "modelcards/units.h"
#include "planner/kv_format.h"

namespace vramplan {

/// Which tokens are kept: all; of a windowed layer only its window; of every layer the first
/// tokens and a window, which attention then sees alone (StreamingLLM); the newest tokens and of
/// those before them every stride'th; or a budget of blocks, of which those with the least
/// attention go (H2O).
enum class KvPolicy : std::uint8_t { kKeepAll, kWindow, kSinkWindow, kStrided, kMass };
inline constexpr int kKvPolicies = 5;
/// What counts as attention of a block: its sum over all queries so far, or a mean that forgets
/// times the logarithm of how often the block had more than its share.
enum class KvScore : std::uint8_t { kSum, kDecayed };
inline constexpr int kKvScores = 2;
/// Which tier blocks live in. Beyond the device they come back layer by layer for each pass.
enum class KvPlacement : std::uint8_t { kDevice, kHost, kDisk };
inline constexpr int kKvPlacements = 3;
/// When the blocks do not suffice for all sequences: nothing is planned for it; or the sequence
/// that came last gives its blocks away, and comes back from a copy on the host or computed again.
enum class Preempt : std::uint8_t { kNone, kSwap, kRecompute };
inline constexpr int kPreempts = 3;
/// Blocks of a few tokens, or one run of the whole context a sequence, reserved when it begins.
enum class KvLayout : std::uint8_t { kPaged, kContiguous };
inline constexpr int kKvLayouts = 2;
enum class AttentionAlgorithm : std::uint8_t { kTiled, kNaive };  // naive materialises the scores
inline constexpr int kAttentionAlgorithms = 2;

const char* name_of(KvPolicy policy);               // keep_all window sink_window strided mass
const char* name_of(KvScore score);                 // sum decayed
const char* name_of(KvLayout layout);               // paged contiguous
const char* name_of(Preempt preempt);               // none swap recompute
const char* name_of(KvPlacement placement);         // device host disk
const char* name_of(AttentionAlgorithm algorithm);  // tiled naive

/// What a layer keeps of a sequence: every token, or the first `sinks` and the newest `window`,
/// whole blocks of them. Layers of a rank that keep the same form a group: one pool, and one block
/// table a sequence.
struct KvKeep {
  Tokens sinks, window;  // window 0 = every token
  Tokens budget = {};    // policy mass: that many tokens at most between passes, in whole blocks
  /// The residual window of a cache: its newest tokens in f16, in a pool of their own, whatever the
  /// format of the history that they leave for.
  bool recent = false;
  /// What has left such a window: every token, later. Other layers may have no window.
  bool history = false;
  bool all() const { return window.n == 0 && budget.n == 0; }
  friend bool operator==(const KvKeep&, const KvKeep&) = default;
};

/// A residual window of `tokens` of each sequence in blocks of 32: a block leaves it for the
/// history as a whole, once the window is full. Of a history with stride s the tokens at multiples
/// of s stay. Formats kivi2 and kivi4 and the policy strided have one; 0 tokens = none.
struct KvResidual {
  Tokens tokens;
  std::int64_t stride = 1;
  Blocks blocks;  // per rank, of 32 tokens
  /// Per rank, of the history, where other layers have no window and kv_blocks are theirs; else the
  /// history's are kv_blocks, and this is 0.
  Blocks history = {};
  bool any() const { return tokens.n > 0; }
  KvKeep keep() const { return {{}, tokens, {}, true}; }
  friend bool operator==(const KvResidual&, const KvResidual&) = default;
};
inline constexpr TokensPerBlock kResidualBlock{32};
/// Tokens of a sequence that have left a residual window when `cached` are in the cache: all but
/// the newest `window`, in whole blocks: max(0, ceil((cached - window) / 32) x 32).
Tokens packed_tokens(Tokens cached, Tokens window);
/// The pool of the layers that keep a window.
struct WindowPool {
  Tokens window;
  Blocks blocks;  // per rank
  friend bool operator==(const WindowPool&, const WindowPool&) = default;
};

/// Policy mass: these tokens of a sequence always stay.
inline constexpr Tokens kMassFirst{10}, kMassLast{50};

/// Layers of a rank whose cache stays on the device, and how many layers' room the others share
/// there: with two, the next layer comes in while one computes.
struct KvOffload {
  std::int64_t resident = 0, staging = 0;
};

/// Layers of a rank whose matrices live in host memory and come in for the layer's turn, and how
/// many layers' room they share on the device.
struct WeightOffload {
  std::int64_t layers = 0, staging = 0;
  friend bool operator==(const WeightOffload&, const WeightOffload&) = default;
};

/// Layers [begin, end) of a card whose matrices have a format of their own; nothing: as the file or
/// the card stores them.
struct WeightLayerRange {
  std::int64_t begin = 0, end = 0;
  std::optional<DType> format;
  friend bool operator==(const WeightLayerRange&, const WeightLayerRange&) = default;
};

/// Tokens guessed before the model is asked about all of them in one pass: none; from an earlier
/// place of the sequence that ends alike; or by a smaller model.
enum class Guess : std::uint8_t { kNone, kNgram, kDraft };
inline constexpr int kGuesses = 3;
const char* name_of(Guess guess);  // none ngram draft

/// Speculative decoding: at most `tokens` guesses a step.
struct GuessDecision {
  Guess guess = Guess::kNone;
  std::int64_t tokens = 0;
  std::string draft;             // MODEL of the smaller one
  std::uint64_t draft_hash = 0;  // of its card
  /// How often the model agrees with a guess whose predecessors it agreed with: what is assumed of
  /// the text. Where nothing is computed (dry), guesses are kept that often.
  double acceptance = 0;
  bool any() const { return guess != Guess::kNone; }
  friend bool operator==(const GuessDecision&, const GuessDecision&) = default;
};

struct Decisions;
/// Those of the draft model of `decisions`: as stored, a cache in f16 that keeps every token, and
/// the same sequences, blocks and threads.
Decisions draft_decisions(const Decisions& decisions);

/// tp ranks split the matrices of a layer, pp stages the layers, cp ranks the tokens of a sequence;
/// ep of the tp ranks share whole experts.
struct Sharding {
  int tp = 1, pp = 1, cp = 1, ep = 1;
  int ranks() const { return tp * pp * cp; }
  int stage_ranks() const { return tp * cp; }
  /// The most of `tokens` that one of the context parallel ranks holds.
  std::int64_t share(std::int64_t tokens) const { return ceil_div(tokens, std::int64_t{cp}); }
};

struct Decisions {
  std::string model;             // MODEL as it was given: card name or path
  std::vector<std::string> set;  // --set overrides, in order
  std::string assume_like;       // --assume-like: the family a config.json was read as
  std::uint64_t card_hash = 0;   // run refuses another card
  std::string device;            // device card name or path
  int device_count = 1;
  Sharding sharding;
  std::optional<DType> weights;                 // of matrices and tables; empty = as stored
  std::vector<WeightLayerRange> weight_layers;  // in other formats: ascending, apart; weight_mix.h
  WeightOffload weight_offload;                 // none by default
  DType activations = DType::kF32;              // f32 on a CPU, bf16 on a GPU
  KvFormat kv_format = KvFormat::kF16;
  KvHeads kv_full_heads;                // of layers in kv_format, when that is kivi2 or kivi4
  std::vector<KvLayerRange> kv_layers;  // in other formats: ascending, apart; see kv_mix.h
  KvPolicy kv_policy = KvPolicy::kKeepAll;
  KvScore kv_score = KvScore::kSum;  // policy mass
  KvKeep kv_keep;                    // policies sink_window and mass: what every layer keeps
  KvResidual kv_residual;
  KvPlacement kv_placement = KvPlacement::kDevice;
  KvOffload kv_offload;  // of a rank, with a placement beyond the device
  KvLayout kv_layout = KvLayout::kPaged;
  TokensPerBlock block{16};
  Blocks kv_blocks;                      // per rank, of layers that keep every token
  Preempt preempt = Preempt::kNone;      // then kv_blocks may be fewer than all sequences need
  Blocks swap_blocks;                    // of the pool on the host, for Preempt::kSwap
  std::vector<WindowPool> window_pools;  // of the others, by window; empty when there are none
  Tokens context;                        // per sequence, prompt and output together
  Tokens output;                         // of which generated
  std::int64_t batch = 1;                // sequences at the same time
  std::int64_t samples = 1;   // of them from each prompt, which share its blocks until they write
  GuessDecision speculation;  // none by default
  bool beam_search = false;   // the samples are beams of one search: the most probable answers
  Tokens shared_prefix;       // that all prompts begin with; its whole blocks are computed once
  Tokens prefill_chunk;       // most tokens of one forward pass
  // Prefill layer by layer over all chunks of a prompt; between the layers its hidden states wait
  // in host memory.
  bool activation_offload = false;
  AttentionAlgorithm attention = AttentionAlgorithm::kTiled;
  // CPU: products with block-quantised weights round their input to 8-bit codes (i8), or do not
  // (f32). fp8: fp8 weights with at most one scale a row meet a row of inputs rounded to e4m3.
  DType linear_inputs = DType::kI8;
  int threads = 1;            // CPU backend, of each replica
  std::int64_t replicas = 1;  // processes that each run all of this over one copy of the weights
  std::uint64_t seed = 0;
  Bytes capacity;  // per device: what the run may take, all in all
};

/// What a layer keeps whose attention sees `window_tokens` (0 = everything).
KvKeep keep_of(KvPolicy policy, const KvKeep& asked, std::int64_t window_tokens);
KvKeep keep_of(const Decisions& decisions, std::int64_t window_tokens);
/// Of a layer in that format: also whether it is the history behind a residual window.
KvKeep keep_of(const Decisions& decisions, std::int64_t window_tokens, KvFormat format);
/// The pool of a group. Errors: kStalePlan when the decisions have none for it.
Blocks pool_blocks(const Decisions& decisions, const KvKeep& keep);
/// Room in the block table of one sequence: ceil(context / block), or of a window at most
/// ceil(sinks / block) + ceil((window + chunk) / block) + 1; of a budget ceil(budget / block) +
/// ceil(chunk / block) + 1.
Blocks table_blocks(const Decisions& decisions, const KvKeep& keep);

/// On a GPU: whether decode steps are captured and replayed as graphs. Not where all scores lie in
/// memory, whose size changes from step to step; nor where layers come in from elsewhere: their
/// copies go to other places in every pass, and the link's time is long beside that of launches;
/// nor steps with guesses of an output so short that there may be too few of them.
bool captures_steps(const Decisions& decisions);
/// Rows of a captured step of `rows` sequences, of at most `most`: the next power of two, so that
/// few sizes are captured.
std::int64_t captured_rows(std::int64_t rows, std::int64_t most);

/// Whether the cache of a rank's `layer`-th of `layers` lives beyond the device: those are spread
/// evenly, so that each has time to come in.
bool is_offloaded(const Decisions& decisions, std::int64_t layer, std::int64_t layers);
/// Whether the matrices of a rank's `layer`-th of `layers` live in host memory; spread alike.
bool is_streamed(const Decisions& decisions, std::int64_t layer, std::int64_t layers);
/// The k-th of `count` streamed layers has its turn in room k mod `staging`; this one comes into it
/// after it: of the same pass, or the first of the next. Itself when it has the room alone.
std::int64_t next_streamed(std::int64_t k, std::int64_t count, std::int64_t staging);
/// Bytes beyond the device, and in staging, of one layer's part of a block. On a disk a record: 64
/// B of header, in units of 4096 B.
Bytes far_part_bytes(KvPlacement placement, Bytes part);

/// The layers a rank holds: [begin, end) of the card. Stages differ by at most one layer, the
/// longer first.
struct LayerRange {
  std::int64_t begin = 0, end = 0;
};
LayerRange layers_of_stage(std::int64_t layer_count, int pp, int stage);

/// Most processes of a run.
inline constexpr std::int64_t kMostReplicas = 256;
/// Errors: kUnsupported naming what replicas do not have: ranks, a cache, matrices or hidden states
/// beyond the device, a draft. `cpu`: a device whose memory processes can share, or a GPU.
void check_replicas(const Decisions& decisions, bool cpu);

struct ModelCard;
/// Errors: kUnsupported naming what gives blocks back or brings them in while a prompt's chunks go
/// by, which has no place when a layer sees all chunks before the next one sees any.
void check_activation_offload(const ModelCard& card, const Decisions& decisions);

}  // namespace vramplan
