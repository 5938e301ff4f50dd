// KvFar: blocks of layers beyond the device, in host memory and in a file.
#include <algorithm>
#include <cstring>
#include <utility>

#include "executor/kv_stream.h"

namespace vramplan {
namespace {

/// f(first, count) of every run of blocks that follow each other, in pieces of at most `most`.
template <class F>
void each_run(const std::vector<std::int32_t>& blocks, std::size_t most, F&& f) {
  for (std::size_t i = 0, next = 0; i < blocks.size(); i = next) {
    next = i + 1;
    while (next < blocks.size() && next - i < most && blocks[next] == blocks[next - 1] + 1) ++next;
    f(blocks[i], static_cast<std::int64_t>(next - i));
  }
}

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
    each_run(blocks, blocks.size(), [&](std::int32_t first, std::int64_t count) {
      move(staged + shape_.part.n * first, at(layer, first), count, HostCopy::kToDevice);
    });
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    each_run(blocks, blocks.size(), [&](std::int32_t first, std::int64_t count) {
      move(at(layer, first), staged + shape_.part.n * first, count, HostCopy::kToHost);
    });
  }

 private:
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

/// A block of a layer is a record; what is staged are whole records. Blocks that follow each other
/// are one request. Writes go on while other layers come and go; a place is free for the next layer
/// when what the one before wrote has arrived.
class DiskFar final : public KvFar {
 public:
  explicit DiskFar(const KvStreamShape& shape)
      : shape_(shape),
        queue_(make_disk_queue(kDepth)),
        file_(*queue_, {shape.directory, shape.part, shape.layers * shape.blocks.n, shape.identity,
                        kDeadline}),
        together_(static_cast<std::size_t>(
            std::max<std::int64_t>(1, kRequest.n / file_.record_bytes().n))) {}
  ~DiskFar() override {
    for (const Transfer& write : writing_) static_cast<void>(queue_->wait(write.ticket, kDeadline));
  }

  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    std::vector<Transfer> reads;
    std::vector<std::int32_t> now, later;  // later: their memory is still being written from
    for (const std::int32_t block : blocks) {
      (is_written_from(record(staged, block)) ? later : now).push_back(block);
    }
    begin_reads(layer, now, staged, reads);
    finish_writes(staged);
    begin_reads(layer, later, staged, reads);
    for (const Transfer& read : reads) {
      file_.finish_read(read.index, read.ticket, read.records, read.count);
    }
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    each_run(blocks, together_, [&](std::int32_t first, std::int64_t count) {
      std::byte* const from = record(staged, first);
      const std::int64_t at = index(layer, first);
      writing_.push_back({at, count, file_.begin_write(at, from, count), from, staged});
    });
  }

 private:
  struct Transfer {
    std::int64_t index, count;
    std::uint64_t ticket;
    std::byte *records, *staged;
  };
  static constexpr int kDepth = 32;
  static constexpr Bytes kRequest{256 * 1024};
  static constexpr Seconds kDeadline{10};

  void begin_reads(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte* staged,
                   std::vector<Transfer>& reads) {
    each_run(blocks, together_, [&](std::int32_t first, std::int64_t count) {
      std::byte* const to = record(staged, first);
      const std::int64_t at = index(layer, first);
      reads.push_back({at, count, file_.begin_read(at, to, count), to, staged});
    });
  }
  bool is_written_from(const std::byte* at) const {
    return std::any_of(writing_.begin(), writing_.end(), [&](const Transfer& write) {
      return at >= write.records && at < write.records + file_.record_bytes().n * write.count;
    });
  }
  /// Of one place.
  void finish_writes(const std::byte* staged) {
    std::vector<Transfer> others;
    for (const Transfer& write : std::exchange(writing_, {})) {
      if (write.staged == staged)
        file_.finish_write(write.index, write.ticket, write.count);
      else
        others.push_back(write);
    }
    writing_ = std::move(others);
  }
  std::int64_t index(std::int64_t layer, std::int32_t block) const {
    return layer * shape_.blocks.n + block;
  }
  std::byte* record(std::byte* staged, std::int32_t block) const {
    return staged - BlockFile::kHeader + file_.record_bytes().n * block;
  }
  KvStreamShape shape_;
  std::unique_ptr<DiskQueue> queue_;
  BlockFile file_;
  std::size_t together_;  // records of a request
  std::vector<Transfer> writing_;
};

}  // namespace

std::unique_ptr<KvFar> make_host_far(Tier& tier, const KvStreamShape& shape, SideCopies* copies) {
  return std::make_unique<HostFar>(tier, shape, copies);
}

std::unique_ptr<KvFar> make_disk_far(const KvStreamShape& shape) {
  return std::make_unique<DiskFar>(shape);
}

}  // namespace vramplan
