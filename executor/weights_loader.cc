#include "executor/weights_loader.h"

#include <algorithm>
#include <set>
#include <span>

#include "executor/random_weights.h"
#include "executor/weight_conversion.h"
#include "kernels/cpu/half.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

constexpr std::int64_t kReadChunk = 8 * 1024 * 1024;  // bytes between two progress reports

bool is_plain_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Where a tensor lies in the file.
struct StoredPart {
  const GgufTensor* tensor = nullptr;
  Bytes offset;
};

bool is_vector(const TensorSpec& spec) {
  return spec.role == TensorRole::kNorm || spec.role == TensorRole::kBias;
}

class Loader {
 public:
  Loader(const ModelSource& source, const Decisions& decisions, const ModelPart& part, Arena& arena,
         Ops& ops, const LoadOptions& options)
      : source_(source),
        decisions_(decisions),
        part_(part),
        arena_(arena),
        ops_(ops),
        options_(options),
        matrices_(decisions.weights.value_or(source.card.stored_weights)),
        packed_(packed_rule(matrices_) != nullptr),
        vectors_(vector_format(source.card)),
        from_file_(source.gguf != nullptr && (!decisions.weights || !packed_)) {
    if (!from_file_) return;
    for (const GgufTensor& tensor : source.gguf->tensors()) total_ += tensor.bytes;
  }

  LoadedWeights run() {
    for_each_tensor(source_.card, part_, result_.weights,
                    [&](const TensorSpec& spec, TensorView& into) { load(spec, into); });
    if (from_file_ && part_.pp == 1) refuse_left_over();
    pack();
    return std::move(result_);
  }

 private:
  void load(const TensorSpec& spec, TensorView& into) {
    const StoredPart stored = from_file_ ? find(spec) : StoredPart{};
    if (from_file_ && stored.tensor == nullptr) return;
    const DType dtype = format_of(spec, stored.tensor);
    if (is_far(spec)) {
      into = options_.host->take(dtype, spec.rows, spec.columns, spec.name);
    } else {
      const Bytes before = arena_.live() - arena_.padding();
      into = arena_.take(dtype, spec.rows, spec.columns, spec.name);
      result_.group_bytes[weight_row(decisions_, spec.group, dtype)] +=
          arena_.live() - arena_.padding() - before;
    }
    const bool vector = is_vector(spec);
    if (options_.fill == WeightFill::kNone) {
      if (vector && options_.f32_vectors != nullptr) take_f32(spec, into);
      return;
    }
    const bool sent = options_.upload != nullptr && !is_far(spec);
    if (options_.fill == WeightFill::kFile && stored.tensor->dtype != dtype) {
      return convert(into, stored, sent);
    }
    if (sent) return send(spec, into, stored.offset, vector);
    if (options_.fill == WeightFill::kFile) {
      read(into, stored.offset);
    } else {
      fill_random(into, spec.name, spec.role, source_.card.norm_one_plus, options_.seed);
    }
    if (vector) widen(into);
  }

  /// What was asked of the tensor; else as the file has it, or the card.
  DType format_of(const TensorSpec& spec, const GgufTensor* stored) const {
    if (is_vector(spec)) return stored != nullptr ? stored->dtype : vectors_;
    // Tables and the head of a packed checkpoint are not packed.
    const bool table = spec.role == TensorRole::kTable || spec.group == "head";
    if (packed_ && table) return vectors_;
    const std::int64_t layer = spec.layer < 0 ? -1 : part_.layers.begin + spec.layer;
    return weight_format(decisions_, layer)
        .value_or(stored != nullptr ? stored->dtype : source_.card.stored_weights);
  }

  /// A packed checkpoint was made of a model in 16 bits.
  DType vector_format(const ModelCard& card) const {
    if (is_plain_float(matrices_)) return matrices_;
    if (!packed_) return DType::kF32;
    return is_plain_float(card.stored_weights) ? card.stored_weights : card.unpacked_weights;
  }

  bool is_far(const TensorSpec& spec) const {
    return options_.host != nullptr && spec.layer >= 0 && spec.role == TensorRole::kMatrix &&
           is_streamed(decisions_, spec.layer, part_.layers.end - part_.layers.begin);
  }

  /// Points a 16-bit vector's view to an f32 copy.
  void widen(TensorView& view) {
    if (view.dtype == DType::kF32) return;
    result_.f32_vectors.push_back(f32_copy(view));
    view.data = result_.f32_vectors.back().data();
    view.dtype = DType::kF32;
  }

  static std::vector<float> f32_copy(const TensorView& view) {
    VRAMPLAN_CHECK(view.dtype == DType::kF16 || view.dtype == DType::kBF16);
    const auto* const stored = static_cast<const std::uint16_t*>(view.data);
    std::vector<float> copy(static_cast<std::size_t>(view.columns));
    for (std::size_t i = 0; i < copy.size(); ++i) {
      copy[i] =
          view.dtype == DType::kF16 ? cpu::f16_to_f32(stored[i]) : cpu::bf16_to_f32(stored[i]);
    }
    return copy;
  }

  /// The f32 copy of a 16-bit vector in the device's arena.
  void take_f32(const TensorSpec& spec, TensorView& view) {
    if (view.dtype == DType::kF32) return;
    view = options_.f32_vectors->take(DType::kF32, view.rows, view.columns, spec.name);
  }

  /// Fills a tensor the CPU cannot write.
  void send(const TensorSpec& spec, TensorView& into, Bytes offset, bool vector) {
    WeightUpload& upload = *options_.upload;
    const bool random = options_.fill == WeightFill::kRandom;
    if (!vector && !random) return send_file(into, offset);
    if (!vector && upload.fill_random(into, spec.name, options_.seed)) return;
    std::vector<std::byte> host(static_cast<std::size_t>(into.bytes().n));
    TensorView here = into;
    here.data = host.data();
    if (random)
      fill_random(here, spec.name, spec.role, source_.card.norm_one_plus, options_.seed);
    else
      read(here, offset);
    upload.send_all(into.data, host);
    if (!vector || into.dtype == DType::kF32) return;
    VRAMPLAN_CHECK(options_.f32_vectors != nullptr);
    take_f32(spec, into);
    const std::vector<float> wide = f32_copy(here);
    upload.send_all(into.data, std::as_bytes(std::span(wide)));
  }

  /// A matrix in another format than the file's.
  void convert(const TensorView& into, const StoredPart& stored, bool sent) {
    auto* const data = static_cast<std::byte*>(into.data);
    std::vector<std::byte> room;  // of rows that are sent
    const auto place = [&](std::int64_t first, std::int64_t bytes) {
      if (!sent) return data + first;
      room.resize(static_cast<std::size_t>(bytes));
      return room.data();
    };
    const auto done = [&](std::int64_t first, std::int64_t, std::int64_t read) {
      if (sent) options_.upload->send_all(data + first, room);
      count(read);
    };
    const StoredMatrix from{stored.tensor->dtype, stored.offset, into.rows, into.columns};
    convert_rows(*options_.file, from, into.dtype, place, done);
  }

  void send_file(const TensorView& into, Bytes offset) {
    const std::int64_t size = into.bytes().n;
    for (std::int64_t at = 0; at < size;) {
      const std::span<std::byte> room = options_.upload->buffer(std::min(kReadChunk, size - at));
      options_.file->read_at(offset + Bytes{at}, room);
      const auto chunk = static_cast<std::int64_t>(room.size());
      options_.upload->send(static_cast<std::byte*>(into.data) + at, chunk);
      at += chunk;
      count(chunk);
    }
  }

  StoredPart find(const TensorSpec& spec) {
    const GgufTensor* own = source_.gguf->find_tensor(spec.name);
    // Some files store gate and up together under the name of up: then the size tells.
    const bool own_fits =
        own != nullptr && (spec.fused_name.empty() || extent(spec, *own) != spec.fused_size);
    if (own_fits) {
      check_shape(spec, *own, spec.rows, spec.columns);
      used_.insert(own->name);
      return {own, own->offset};
    }
    const GgufTensor* fused =
        spec.fused_name.empty() ? nullptr : source_.gguf->find_tensor(spec.fused_name);
    if (fused == nullptr) {
      if (spec.optional) return {};
      throw Error(ErrorCode::kBadGguf, "the file has no tensor " + spec.name)
          .at(source_.gguf->file_name(), spec.name)
          .help("the file and its metadata contradict each other");
    }
    const bool vector = spec.role == TensorRole::kBias;
    check_shape(spec, *fused, vector ? 1 : spec.fused_size,
                vector ? spec.fused_size : spec.columns);
    used_.insert(fused->name);
    const Bytes skipped = vector ? bytes_of(fused->dtype, 1, spec.fused_begin)
                                 : bytes_of(fused->dtype, spec.fused_begin, spec.columns);
    return {fused, fused->offset + skipped};
  }

  static std::int64_t extent(const TensorSpec& spec, const GgufTensor& tensor) {
    if (tensor.shape.empty()) return 0;
    return spec.role == TensorRole::kBias ? tensor.shape.back() : tensor.shape.front();
  }

  /// A rank of several holds a part, so only whole tensors can be compared with the file exactly.
  void check_shape(const TensorSpec& spec, const GgufTensor& tensor, std::int64_t rows,
                   std::int64_t columns) const {
    std::int64_t stored_rows = 1;
    for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) stored_rows *= tensor.shape[i];
    const std::int64_t stored_columns = tensor.shape.empty() ? 1 : tensor.shape.back();
    const bool fits = part_.tp == 1 ? stored_rows == rows && stored_columns == columns
                                    : stored_rows >= rows && stored_columns >= columns;
    if (fits) return;
    const auto text = [](std::int64_t r, std::int64_t c) {
      return std::to_string(r) + " x " + std::to_string(c);
    };
    throw Error(ErrorCode::kBadGguf, "tensor " + tensor.name + " is " +
                                         text(stored_rows, stored_columns) + " in the file, " +
                                         text(rows, columns) + " by the metadata")
        .at(source_.gguf->file_name(), spec.name);
  }

  void read(const TensorView& into, Bytes offset) {
    const std::int64_t size = into.bytes().n;
    auto* const data = static_cast<std::byte*>(into.data);
    for (std::int64_t at = 0; at < size; at += kReadChunk) {
      const std::int64_t chunk = std::min(kReadChunk, size - at);
      options_.file->read_at(offset + Bytes{at},
                             std::span(data + at, static_cast<std::size_t>(chunk)));
      count(chunk);
    }
  }

  void count(std::int64_t chunk) {
    done_ += Bytes{chunk};
    if (options_.progress && total_.n > 0) {
      options_.progress(static_cast<double>(done_.n) / static_cast<double>(total_.n));
    }
  }

  void refuse_left_over() const {
    for (const GgufTensor& tensor : source_.gguf->tensors()) {
      const bool host_table = tensor.name.rfind("rope_", 0) == 0;  // read by the rotary tables
      if (host_table || used_.count(tensor.name) > 0) continue;
      throw Error(ErrorCode::kUnsupported, "the transformer has no use for tensor " + tensor.name)
          .at(source_.gguf->file_name(), tensor.name)
          .help("the model has a part this executor does not know");
    }
  }

  /// Only what a linear reads may be rearranged; a table that is the tied head is one of them.
  void pack() {
    RankWeights& w = result_.weights;
    const bool tied = source_.card.tied_head && part_.first() && part_.last();
    if (options_.fill != WeightFill::kNone) {
      for (LayerWeights& l : w.layers) {
        for (LinearWeights* linear : {&l.q, &l.k, &l.v, &l.output, &l.gate, &l.up, &l.down}) {
          if (linear->weight.tensor.data != nullptr) ops_.pack(linear->weight);
        }
      }
      if (tied)
        ops_.pack(w.embedding);
      else if (part_.last())
        ops_.pack(w.head.weight);
    }
    if (tied) w.head.weight = w.embedding;
  }

  const ModelSource& source_;
  const Decisions& decisions_;
  const ModelPart& part_;
  Arena& arena_;
  Ops& ops_;
  const LoadOptions& options_;
  DType matrices_;
  bool packed_;
  DType vectors_;
  bool from_file_;
  Bytes total_, done_;
  std::set<std::string> used_;
  LoadedWeights result_;
};

}  // namespace

LoadedWeights load_weights(const ModelSource& source, const Decisions& decisions,
                           const ModelPart& part, Arena& arena, Ops& ops,
                           const LoadOptions& options) {
  VRAMPLAN_CHECK(options.fill != WeightFill::kFile ||
                 (options.file != nullptr && source.gguf != nullptr));
  return Loader(source, decisions, part, arena, ops, options).run();
}

}  // namespace vramplan
