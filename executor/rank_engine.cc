#include "executor/rank_engine.h"

#include "kernels/cuda/workspace.h"

namespace vramplan {
namespace {

constexpr Bytes kAnySize{std::int64_t{1} << 62};

std::optional<GpuWorkspace> gpu_workspace(const RankEngine::Parts& parts, const ModelCard& card,
                                          const ModelPart& part, const Decisions& decisions,
                                          const GpuRegions& regions) {
  Backend& backend = parts.backend;
  if (backend.gpu() == nullptr || parts.workspace != nullptr) return {};
  std::vector<KvKeep> groups;
  for (const KvGroup& group : kv_groups(card, part, decisions)) groups.push_back(group.keep);
  return std::optional<GpuWorkspace>(std::in_place, backend.tier(TierKind::kDevice), *backend.gpu(),
                                     decisions, groups, regions);
}

std::unique_ptr<KvStream> make_stream(const RankEngine::Parts& parts,
                                      const std::optional<KvStreamShape>& asked) {
  if (!asked) return nullptr;
  KvStreamShape shape = *asked;
  shape.directory = parts.offload_directory.empty() ? "/var/tmp" : parts.offload_directory;
  Backend& backend = parts.backend;
  shape.gpu = backend.gpu() != nullptr;
  std::unique_ptr<KvFar> far;
  if (backend.computes()) {
    Tier& host = backend.tier(TierKind::kHost);
    SideCopies* const copies = backend.side_copies();
    if (shape.placement == KvPlacement::kHost) {
      far = make_host_far(host, shape, copies);
    } else {
      far = copies != nullptr ? make_gpu_disk_far(host, *copies, shape) : make_disk_far(shape);
    }
  }
  auto stream = std::make_unique<KvStream>(backend.tier(TierKind::kDevice), shape, std::move(far),
                                           backend.side_copies());
  backend.price(*stream);
  return stream;
}

}  // namespace

RankEngine::RankEngine(const Parts& parts, const Decisions& decisions, const ModelSource& source,
                       const ModelPart& part, const RegionSizes& sizes)
    : parts_(parts),
      decisions_(decisions),
      source_(source),
      part_(part),
      weights_arena_(parts.backend.tier(TierKind::kDevice),
                     parts.weights != nullptr ? Bytes{} : sizes.weights, "the weight region"),
      own_gpu_(gpu_workspace(parts, source.card, part, decisions, sizes.gpu)),
      gpu_(own_gpu_ ? &*own_gpu_ : parts.workspace),
      dry_host_(parts.backend.computes() ? nullptr : make_dry_tier(TierKind::kHost, kAnySize)),
      stream_(make_stream(parts, kv_stream_shape(source.card, part, decisions, sizes.blocks))),
      kv_(parts.backend.tier(TierKind::kDevice), source.card, part, decisions, sizes.blocks,
          stream_.get()),
      activations_(parts.backend.tier(TierKind::kDevice), sizes.activations,
                   "the activation region") {
  if (decisions.preempt == Preempt::kSwap) {
    // A virtual host holds no bytes: the pool counts.
    const Bytes block = parts_.backend.computes() ? kv_.pool(0).block_bytes() : Bytes{};
    kv_.set_swap_pool(std::make_unique<BlockPool>(parts_.backend.tier(TierKind::kHost),
                                                  decisions.swap_blocks, block));
  }
  if (own_gpu_) parts_.backend.bind(gpu_);
  Tier& host = dry_host_ != nullptr ? *dry_host_ : parts.backend.tier(TierKind::kHost);
  if (decisions.weight_offload.layers > 0) {
    host_weights_.emplace(host, sizes.host_weights, "the region of weights in host memory");
  }
  if (!decisions.activation_offload) return;
  hidden_states_ = std::make_unique<HiddenStates>(host, (decisions.context - decisions.output).n,
                                                  source.card.hidden, decisions.activations,
                                                  parts.backend.computes());
  hidden_states_->copy_by(
      [&backend = parts_.backend](void* to, const void* from, Bytes size, HostCopy way) {
        backend.swap(to, from, size, way);
      });
  parts.backend.price(*hidden_states_);
}

RankEngine::~RankEngine() {
  if (own_gpu_) parts_.backend.bind(nullptr);
}

void RankEngine::load(const LoadOptions& given) {
  VRAMPLAN_CHECK(!transformer_.has_value());
  Ops& ops = parts_.backend.ops();
  LoadOptions options = given;
  if (gpu_ != nullptr) options.f32_vectors = &gpu_->vectors();
  options.upload = parts_.backend.upload();
  if (host_weights_) options.host = &*host_weights_;
  if (parts_.weights != nullptr) {
    loaded_.weights = parts_.weights->loaded.weights;
    loaded_.group_bytes = parts_.weights->loaded.group_bytes;
  } else {
    loaded_ = load_weights(source_, decisions_, part_, weights_arena_, ops, options);
  }
  parts_.backend.synchronize();
  if (host_weights_) stream_weights();
  const TransformerParts parts{
      ops,
      activations_,
      loaded_.weights,
      kv_,
      parts_.tensor_group,
      parts_.stages,
      stream_.get(),
      weight_stream_.get(),
      decisions_.kv_residual.stride,
      hidden_states_.get(),
      decisions_.prefill_chunk.n,
      [this](const PassInput& part) { return parts_.backend.stage_part(part); }};
  transformer_.emplace(source_.card, part_, decisions_.activations, decisions_.attention, parts);
  if (gpu_ == nullptr) return;
  for (const RopeTable& table : transformer_->rope_tables()) {
    const TensorView view = gpu_->add_rope_table(table);
    if (options.upload == nullptr) continue;
    options.upload->send_all(view.data, std::as_bytes(std::span(table.inverse_frequency())));
  }
  parts_.backend.synchronize();
}

/// Staging is the last tensor of the weight arena: how large it must be is known now.
void RankEngine::stream_weights() {
  StreamedLayers streamed = streamed_layers(loaded_.weights, decisions_);
  const auto rooms = std::min(decisions_.weight_offload.staging,
                              static_cast<std::int64_t>(streamed.layers.size()));
  const TensorView staging =
      weights_arena_.take(DType::kI8, rooms, streamed.largest().n, "staging of streamed layers");
  loaded_.group_bytes["staging"] = staging.bytes();
  const std::span<std::byte> room(static_cast<std::byte*>(staging.data),
                                  static_cast<std::size_t>(staging.bytes().n));
  weight_stream_ =
      std::make_unique<WeightStream>(std::move(streamed), loaded_.weights, room, rooms,
                                     parts_.backend.computes(), parts_.backend.side_copies());
  parts_.backend.price(*weight_stream_);
}

TensorView RankEngine::forward(const Pass& pass) {
  VRAMPLAN_CHECK(transformer_.has_value());
  for (std::size_t g = 0; g < pass.groups.size(); ++g) {
    const BlockPool& pool = kv_.pool(g);
    const BlockPool* const host = kv_.swap_pool();
    // What comes back leaves blocks on the host that others may take in the same pass.
    for (const BlockCopy& block : pass.groups[g].swap_in) {
      parts_.backend.swap(pool.data(block.to), host->data(block.from), pool.block_bytes(),
                          HostCopy::kToDevice);
    }
    for (const BlockCopy& block : pass.groups[g].swap_out) {
      parts_.backend.swap(host->data(block.to), pool.data(block.from), pool.block_bytes(),
                          HostCopy::kToHost);
    }
    for (const BlockCopy& block : pass.groups[g].copies) {
      parts_.backend.copy(pool.data(block.to), pool.data(block.from), pool.block_bytes());
    }
  }
  const bool step = gpu_ != nullptr && pass.phase == Phase::kDecode;
  return parts_.backend.run_pass(
      step ? step_of_gpu(pass) : pass.input(), activations_,
      [this](const PassInput& given) { return transformer_->forward(given); });
}

/// Steps with guesses are all alike, so that what they take and the graphs that are captured do not
/// depend on which guesses were kept: a sequence that is done, or has less to ask, leaves rows
/// empty.
PassInput RankEngine::step_of_gpu(const Pass& pass) {
  const PassInput input = pass.input();
  if (pass.step_queries > 0) {
    return padded_.of_guesses(input, gpu_->shape().slices, pass.step_queries);
  }
  const auto rows = static_cast<std::int64_t>(input.ids.size());
  return padded_.of(input, parts_.backend.step_rows(rows));
}

std::vector<std::int32_t> RankEngine::sample(const Pass& pass, const TensorView& logits,
                                             const Sampling& sampling,
                                             std::span<const float> uniform) {
  const auto rows = static_cast<std::int64_t>(pass.sampled.size());
  // Rows wanted besides the sampled ones come first.
  const auto first = static_cast<std::int64_t>(pass.logit_rows.size()) - rows;
  return draw(logits, first, rows, sampling, uniform);
}

std::vector<std::int32_t> RankEngine::draw(const TensorView& logits, std::int64_t first,
                                           std::int64_t rows, const Sampling& sampling,
                                           std::span<const float> uniform) {
  VRAMPLAN_CHECK(gpu_ != nullptr);
  TensorView scratch = activations_.take(
      DType::kI8, 1, cuda::sampling_workspace(rows, logits.columns).n, "sampling scratch");
  std::vector<std::int32_t> tokens =
      parts_.backend.sample({logits, first, rows, sampling, uniform, scratch});
  activations_.give_back(scratch);
  for (const std::int32_t token : tokens) {
    if (token >= 0 && token < logits.columns) continue;
    throw Error(ErrorCode::kInternal, "the device drew token id " + std::to_string(token))
        .help("the weights or the cache are damaged; check the model file");
  }
  return tokens;
}

Bytes RankEngine::vector_bytes() const {
  const SharedWeights* const shared = parts_.weights;
  if (shared != nullptr && shared->vectors != nullptr) return shared->vectors->live();
  return own_gpu_ ? gpu_->vector_bytes() : Bytes{};
}

Bytes RankEngine::regions_taken() {
  Bytes taken = weights_arena().live() + kv_.pool_bytes();
  if (stream_) taken += stream_->staging_bytes();
  if (own_gpu_) taken += gpu_->gemm_bytes() + gpu_->index_bytes() + vector_bytes();
  return taken;
}

Bytes RankEngine::taken() {
  Bytes taken = weights_arena().live() + kv_.held_bytes() + activations_.live();
  if (stream_) taken += stream_->staging_bytes();
  if (own_gpu_) taken += gpu_->gemm_bytes() + gpu_->index_bytes() + vector_bytes();
  return taken;
}

}  // namespace vramplan
