// KvFar: blocks of layers beyond the device, in host memory and in a file.
#include <cstring>

#include "executor/kv_stream.h"

namespace vramplan {
namespace {

/// Blocks that follow each other lie behind each other on both sides, and move together.
class HostFar final : public KvFar {
 public:
  HostFar(Tier& tier, const KvStreamShape& shape, SideCopies* copies)
      : tier_(tier), shape_(shape), copies_(copies) {
    region_ = tier.reserve(shape.part * (shape.layers * shape.blocks.n),
                           "the KV cache beyond the device");
  }
  ~HostFar() override { tier_.release(region_); }
  HostFar(const HostFar&) = delete;
  HostFar& operator=(const HostFar&) = delete;

  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    each_run(blocks, [&](std::int32_t first, std::int64_t count) {
      move(staged + shape_.part.n * first, at(layer, first), count, HostCopy::kToDevice);
    });
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    each_run(blocks, [&](std::int32_t first, std::int64_t count) {
      move(at(layer, first), staged + shape_.part.n * first, count, HostCopy::kToHost);
    });
  }

 private:
  template <class F>
  static void each_run(const std::vector<std::int32_t>& blocks, F&& f) {
    for (std::size_t i = 0, next = 0; i < blocks.size(); i = next) {
      for (next = i + 1; next < blocks.size() && blocks[next] == blocks[next - 1] + 1;) ++next;
      f(blocks[i], static_cast<std::int64_t>(next - i));
    }
  }
  void move(void* to, const void* from, std::int64_t count, HostCopy way) const {
    const Bytes size = shape_.part * count;
    if (copies_ != nullptr) return copies_->copy(to, from, size, way);
    std::memcpy(to, from, static_cast<std::size_t>(size.n));
  }
  std::byte* at(std::int64_t layer, std::int32_t block) const {
    return region_.data + shape_.part.n * (layer * shape_.blocks.n + block);
  }
  Tier& tier_;
  KvStreamShape shape_;
  SideCopies* copies_;
  Region region_;
};

/// A block of a layer is a record; what is staged are whole records.
class DiskFar final : public KvFar {
 public:
  explicit DiskFar(const KvStreamShape& shape)
      : shape_(shape),
        queue_(make_disk_queue(kDepth)),
        file_(*queue_, {shape.directory, shape.part, shape.layers * shape.blocks.n, shape.identity,
                        kDeadline}) {}

  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    std::vector<std::uint64_t> tickets;
    for (const std::int32_t block : blocks) {
      tickets.push_back(file_.begin_read(index(layer, block), record(staged, block)));
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      file_.finish_read(index(layer, blocks[i]), tickets[i], record(staged, blocks[i]));
    }
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    std::vector<std::uint64_t> tickets;
    for (const std::int32_t block : blocks) {
      tickets.push_back(file_.begin_write(index(layer, block), record(staged, block)));
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      file_.finish_write(index(layer, blocks[i]), tickets[i]);
    }
  }

 private:
  static constexpr int kDepth = 32;
  static constexpr Seconds kDeadline{10};
  std::int64_t index(std::int64_t layer, std::int32_t block) const {
    return layer * shape_.blocks.n + block;
  }
  std::byte* record(std::byte* staged, std::int32_t block) const {
    return staged - BlockFile::kHeader + file_.record_bytes().n * block;
  }
  KvStreamShape shape_;
  std::unique_ptr<DiskQueue> queue_;
  BlockFile file_;
};

}  // namespace

std::unique_ptr<KvFar> make_host_far(Tier& tier, const KvStreamShape& shape, SideCopies* copies) {
  return std::make_unique<HostFar>(tier, shape, copies);
}

std::unique_ptr<KvFar> make_disk_far(const KvStreamShape& shape) {
  return std::make_unique<DiskFar>(shape);
}

}  // namespace vramplan
