#include "executor/weights_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <optional>

#include "executor/engine.h"
#include "executor/random_weights.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/quantise.h"
#include "planner/weights.h"
#include "tests/executor/gguf_writer.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

constexpr std::uint64_t kSeed = 7;

/// A card's tensors with the loader's random values, as a converter would write them.
std::vector<FileTensor> tensors_of(const ModelCard& card) {
  std::vector<FileTensor> tensors;
  RankWeights none;
  for_each_tensor(card, model_part(card, {}, 0), none, [&](const TensorSpec& spec, TensorView&) {
    FileTensor t{spec.name, {static_cast<std::uint64_t>(spec.columns)}, {}};
    if (spec.role == TensorRole::kMatrix || spec.role == TensorRole::kTable) {
      t.dims.push_back(static_cast<std::uint64_t>(spec.rows));
    }
    t.bytes.resize(static_cast<std::size_t>(spec.rows * spec.columns * 4));
    fill_random({t.bytes.data(), DType::kF32, spec.rows, spec.columns}, spec.name, spec.role, false,
                kSeed);
    tensors.push_back(std::move(t));
  });
  return tensors;
}

/// A llama card GGUF can say: interleaved rotation, as the converter arranges q and k.
ModelCard file_card() {
  ModelCard card = tiny_card();
  card.hidden = 32;
  for (Layer& layer : card.layers) layer.mixer.rope.interleaved = true;
  return card;
}

std::string llama_file(const std::vector<FileTensor>& tensors, std::uint32_t intermediate = 36) {
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  writer.number("llama.block_count", 2);
  writer.number("llama.context_length", 256);
  writer.number("llama.embedding_length", 32);
  writer.number("llama.feed_forward_length", intermediate);
  writer.number("llama.attention.head_count", 4);
  writer.number("llama.attention.head_count_kv", 2);
  writer.number("llama.rope.dimension_count", 8);
  writer.real("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  writer.number("llama.vocab_size", 40);
  return writer.file(tensors);
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes)
      : path_(testing::TempDir() + "vramplan_" +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf") {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::vector<std::int32_t> kIds{3, 1, 4, 1, 5, 9, 2, 6};

std::vector<float> logits_of(const ModelSource& source, bool random) {
  ReferenceBackend backend;
  return prompt_logits(tiny_decisions(source.card, 9, 1), source, backend, kIds, random);
}

TEST(WeightsLoader, AFileGivesTheLogitsOfTheSameWeightsMadeInPlace) {
  const TemporaryFile file(llama_file(tensors_of(file_card())));
  const ModelSource source = open_model(file.path());
  EXPECT_EQ(source.card.layers[0].mixer.head_dim, 8);
  const auto from_file = logits_of(source, false);
  const auto made = logits_of(source_of(file_card()), true);
  ASSERT_EQ(from_file.size(), made.size());
  for (std::size_t i = 0; i < made.size(); ++i) ASSERT_FLOAT_EQ(from_file[i], made[i]) << i;
}

ErrorCode load_error(const ModelSource& source, const File& file, std::string* message,
                     std::optional<DType> weights = {}) {
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Arena arena(*tier, 16_MiB, "the weight region");
  ReferenceOps ops;
  Decisions decisions = tiny_decisions(source.card, 9, 1);
  decisions.weights = weights;
  try {
    load_weights(source, decisions, model_part(source.card, {}, 0), arena, ops,
                 {WeightFill::kFile, &file, 0, {}});
  } catch (const Error& error) {
    *message = error.message() + " " + error.field();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kInternal;
}

/// A source whose tensor table is changed after the reader proved it: what load must catch by
/// itself.
ModelSource source_with(const std::vector<FileTensor>& tensors, const std::string& bytes) {
  ModelSource source = source_of(file_card());
  const auto file = memory_file("test.gguf", bytes);
  source.kind = SourceKind::kGguf;
  source.gguf = std::make_shared<const Gguf>(Gguf::read(*file));
  EXPECT_EQ(source.gguf->tensors().size(), tensors.size());
  return source;
}

TEST(WeightsLoader, MissingMisshapenAndUnknownTensorsAreNamed) {
  const auto error_of = [](const std::function<void(std::vector<FileTensor>&)>& edit) {
    std::vector<FileTensor> tensors = tensors_of(file_card());
    edit(tensors);
    const std::string bytes = llama_file(tensors);
    std::string message;
    const ErrorCode code =
        load_error(source_with(tensors, bytes), *memory_file("test.gguf", bytes), &message);
    return std::to_string(static_cast<int>(code)) + " " + message;
  };
  EXPECT_NE(
      error_of([](auto& t) { t.pop_back(); }).find("203 the file has no tensor output.weight"),
      std::string::npos);
  EXPECT_NE(error_of([](auto& t) {
              t[0].dims[1] -= 1;
              t[0].bytes.resize(t[0].bytes.size() - 32 * 4);
            }).find("203 tensor token_embd.weight is 39 x 32 in the file, 40 x 32"),
            std::string::npos);
  EXPECT_NE(error_of([](auto& t) {
              t.push_back({"blk.0.attn_sinks.weight", {4}, std::string(16, '\0')});
            }).find("601 the transformer has no use for tensor blk.0.attn_sinks.weight"),
            std::string::npos);
}

/// Reads that end early or fail, at every tensor in turn.
class FailingFile final : public File {
 public:
  FailingFile(std::string bytes, int reads)
      : inner_(memory_file("test.gguf", std::move(bytes))), reads_(reads) {}
  const std::string& name() const override { return inner_->name(); }
  Bytes size() const override { return inner_->size(); }
  void read_at(Bytes offset, std::span<std::byte> out) const override {
    if (reads_-- == 0) throw Error(ErrorCode::kIo, "the disk failed").at(name());
    inner_->read_at(offset, out);
  }

 private:
  std::unique_ptr<File> inner_;
  mutable int reads_;
};

TEST(WeightsLoader, AFailedReadEndsTheLoadWhereverItHappens) {
  const std::vector<FileTensor> tensors = tensors_of(file_card());
  const std::string bytes = llama_file(tensors);
  const ModelSource source = source_with(tensors, bytes);
  for (int at = 0; at < static_cast<int>(tensors.size()); ++at) {
    std::string message;
    EXPECT_EQ(load_error(source, FailingFile(bytes, at), &message), ErrorCode::kIo);
  }
  std::string message;
  const std::string cut = bytes.substr(0, bytes.size() - 64);
  EXPECT_EQ(load_error(source, *memory_file("test.gguf", cut), &message), ErrorCode::kFile);
}

/// Fused q, k, v and gate, up: their rows are read from the one tensor of the file.
TEST(WeightsLoader, PartsOfFusedTensorsAreReadFromTheirRows) {
  const ModelCard card = file_card();
  std::vector<FileTensor> tensors, plain = tensors_of(card);
  const auto find = [&](const std::string& name) -> const FileTensor& {
    return *std::find_if(plain.begin(), plain.end(),
                         [&](const FileTensor& t) { return t.name == name; });
  };
  for (const FileTensor& t : plain) {
    const std::string prefix = t.name.substr(0, t.name.find('.', 4) + 1);
    if (t.name.find("attn_k.") != std::string::npos ||
        t.name.find("attn_v.") != std::string::npos ||
        t.name.find("ffn_gate.") != std::string::npos) {
      continue;
    }
    FileTensor out = t;
    if (t.name.find("attn_q.") != std::string::npos) {
      out = {prefix + "attn_qkv.weight",
             {32, 64},
             t.bytes + find(prefix + "attn_k.weight").bytes + find(prefix + "attn_v.weight").bytes};
    }
    if (t.name.find("ffn_up.") != std::string::npos) {
      out = {t.name, {32, 72}, find(prefix + "ffn_gate.weight").bytes + t.bytes};
    }
    tensors.push_back(out);
  }
  const std::string bytes = llama_file(tensors);
  const ModelSource source = source_with(tensors, bytes);
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Arena fused_arena(*tier, 8_MiB, "fused"), made_arena(*tier, 8_MiB, "made");
  ReferenceOps ops;
  const Decisions decisions = tiny_decisions(card, 9, 1);
  const ModelPart part = model_part(card, {}, 0);
  const auto file = memory_file("test.gguf", bytes);
  const LoadedWeights fused = load_weights(source, decisions, part, fused_arena, ops,
                                           {WeightFill::kFile, file.get(), 0, {}});
  const LoadedWeights made = load_weights(source_of(card), decisions, part, made_arena, ops,
                                          {WeightFill::kRandom, nullptr, kSeed, {}});
  EXPECT_EQ(fused.group_bytes, made.group_bytes);
  for (std::size_t i = 0; i < 2; ++i) {
    const LayerWeights &a = fused.weights.layers[i], &b = made.weights.layers[i];
    for (const auto& [x, y] :
         {std::pair(a.q, b.q), {a.k, b.k}, {a.v, b.v}, {a.gate, b.gate}, {a.up, b.up}}) {
      const auto size = static_cast<std::size_t>(x.weight.tensor.bytes().n);
      EXPECT_EQ(std::memcmp(x.weight.tensor.data, y.weight.tensor.data, size), 0);
    }
  }
}

/// Every format that rounding makes, for the rest and for one layer: matrices are those of the file
/// encoded, norms the file's own, and the arena holds the planner's bytes, row by row.
TEST(WeightsLoader, MatricesOfAFileAreConvertedAndVectorsStay) {
  ModelCard card = file_card();
  card.tied_head = true;
  for (Layer& layer : card.layers) layer.feed_forward.intermediate = 64;
  const std::vector<FileTensor> tensors = tensors_of(card);
  const std::string bytes = llama_file(tensors, 64);
  const auto file = memory_file("test.gguf", bytes);
  ModelSource source = source_with(tensors, bytes);
  source.card = card;
  for (const GgufTensor& t : source.gguf->tensors()) {
    source.stored.push_back({t.name, t.dtype, t.rows(), t.shape.back(), t.bytes});
  }
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kQ8_0, DType::kQ4_0,
                            DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    Decisions decisions = tiny_decisions(card, 9, 1);
    decisions.weights = dtype;
    decisions.weight_layers = {{1, 2, std::nullopt}};
    auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
    Arena arena(*tier, 8_MiB, "weights");
    ReferenceOps ops;
    const LoadedWeights loaded = load_weights(source, decisions, model_part(card, {}, 0), arena,
                                              ops, {WeightFill::kFile, file.get(), 0, {}});
    std::map<std::string, Bytes> predicted;
    for (const GroupBytes& group : weight_groups(rank_model(card, decisions, source.stored, 0))) {
      predicted[group.row()] = group.bytes;
    }
    EXPECT_EQ(loaded.group_bytes, predicted) << info(dtype).name;
    EXPECT_EQ(loaded.group_bytes.count("head"), 0U);
    const LayerWeights &made = loaded.weights.layers[0], &kept = loaded.weights.layers[1];
    EXPECT_EQ(made.down.weight.tensor.dtype, dtype);
    EXPECT_EQ(loaded.weights.embedding.tensor.dtype, dtype);
    EXPECT_EQ(kept.down.weight.tensor.dtype, DType::kF32);
    EXPECT_EQ(made.attention_norm.weight.dtype, DType::kF32);
    const auto expect_rows = [&](const std::string& name, const TensorView& view) {
      const auto stored = std::find_if(tensors.begin(), tensors.end(),
                                       [&](const FileTensor& t) { return t.name == name; });
      std::vector<std::byte> row(static_cast<std::size_t>(bytes_of(view.dtype, 1, view.columns).n));
      for (std::int64_t r = 0; r < view.rows; ++r) {
        const auto* values = reinterpret_cast<const float*>(stored->bytes.data());
        cpu::quantise_row(view.dtype, values + r * view.columns, row.data(), view.columns);
        const auto* got =
            static_cast<const std::byte*>(view.data) + r * static_cast<std::int64_t>(row.size());
        ASSERT_EQ(std::memcmp(got, row.data(), row.size()), 0) << name << " row " << r;
      }
    };
    expect_rows("blk.0.ffn_down.weight", made.down.weight.tensor);
    expect_rows("blk.0.attn_k.weight", made.k.weight.tensor);
    expect_rows("token_embd.weight", loaded.weights.embedding.tensor);
    expect_rows("blk.1.ffn_up.weight", kept.up.weight.tensor);
  }
}

/// Takes few bytes at a time, as a busy link does.
class NarrowUpload final : public WeightUpload {
 public:
  std::span<std::byte> buffer(std::int64_t wanted) override {
    room_.resize(static_cast<std::size_t>(std::min<std::int64_t>(wanted, 100)));
    return room_;
  }
  void send(void* to, std::int64_t size) override {
    std::memcpy(to, room_.data(), static_cast<std::size_t>(size));
  }
  bool fill_random(const TensorView&, const std::string&, std::uint64_t) override { return false; }

 private:
  std::vector<std::byte> room_;
};

TEST(WeightsLoader, WhatIsConvertedIsSentWhereTheCpuCannotWrite) {
  const std::vector<FileTensor> tensors = tensors_of(file_card());
  const std::string bytes = llama_file(tensors);
  const ModelSource source = source_with(tensors, bytes);
  const auto file = memory_file("test.gguf", bytes);
  Decisions decisions = tiny_decisions(source.card, 9, 1);
  decisions.weights = DType::kBF16;
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Arena arena(*tier, 8_MiB, "weights"), sent_arena(*tier, 8_MiB, "sent");
  ReferenceOps ops;
  NarrowUpload upload;
  LoadOptions options{WeightFill::kFile, file.get(), 0, {}};
  const ModelPart part = model_part(source.card, {}, 0);
  const LoadedWeights here = load_weights(source, decisions, part, arena, ops, options);
  options.upload = &upload;
  const LoadedWeights sent = load_weights(source, decisions, part, sent_arena, ops, options);
  EXPECT_EQ(here.group_bytes, sent.group_bytes);
  const TensorView &a = here.weights.layers[1].down.weight.tensor,
                   &b = sent.weights.layers[1].down.weight.tensor;
  ASSERT_EQ(b.dtype, DType::kBF16);
  EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<std::size_t>(a.bytes().n)), 0);
}

TEST(WeightsLoader, AFailedReadEndsAConversionWhereverItHappens) {
  const std::vector<FileTensor> tensors = tensors_of(file_card());
  const std::string bytes = llama_file(tensors);
  const ModelSource source = source_with(tensors, bytes);
  for (int at = 0; at < static_cast<int>(tensors.size()); ++at) {
    std::string message;
    EXPECT_EQ(load_error(source, FailingFile(bytes, at), &message, DType::kF16), ErrorCode::kIo);
  }
}

TEST(WeightsLoader, SixteenBitVectorsKeepTheirBytesAndAreReadAsF32) {
  ModelCard card = tiny_card();
  card.stored_weights = DType::kBF16;
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Arena arena(*tier, 8_MiB, "weights");
  ReferenceOps ops;
  const LoadedWeights loaded =
      load_weights(source_of(card), tiny_decisions(card, 9, 1), model_part(card, {}, 0), arena, ops,
                   {WeightFill::kRandom, nullptr, kSeed, {}});
  EXPECT_EQ(loaded.group_bytes.at("norms"), Bytes{5 * 24 * 2});
  EXPECT_EQ(loaded.weights.final_norm.weight.dtype, DType::kF32);
  EXPECT_NEAR(element(loaded.weights.final_norm.weight, 0, 3), 1, 0.11);
}

TEST(WeightsLoader, Fp8MatricesTakeAByteAnElementAndVectorsStayWide) {
  ModelCard card = tiny_card();
  const auto load = [&](DType dtype, Arena& arena) {
    card.stored_weights = dtype;
    ReferenceOps ops;
    return load_weights(source_of(card), tiny_decisions(card, 9, 1), model_part(card, {}, 0), arena,
                        ops, {WeightFill::kRandom, nullptr, kSeed, {}});
  };
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Arena arena(*tier, 8_MiB, "weights"), wide_arena(*tier, 8_MiB, "weights");
  const LoadedWeights narrow = load(DType::kF8E4M3, arena);
  const LoadedWeights wide = load(DType::kF32, wide_arena);
  EXPECT_EQ(narrow.group_bytes.at("embedding"), Bytes{40 * 24});
  EXPECT_EQ(narrow.group_bytes.at("norms"), Bytes{5 * 24 * 4});
  const TensorView& table = narrow.weights.embedding.tensor;
  const auto* codes = static_cast<const std::uint8_t*>(table.data);
  const auto* values = static_cast<const float*>(wide.weights.embedding.tensor.data);
  for (std::size_t i = 0; i < 40 * 24; ++i) EXPECT_EQ(codes[i], cpu::f32_to_f8(values[i]));
}

}  // namespace
}  // namespace vramplan
