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

/// A block of a layer is a record; a room holds records by block. Blocks that follow each other are
/// one request. Writes go on while other layers come and go; a room is free for the next layer when
/// what the one before wrote has arrived.
class LayerFile {
 public:
  LayerFile(const KvStreamShape& shape, std::unique_ptr<DiskQueue> queue)
      : blocks_(shape.blocks),
        queue_(queue != nullptr ? std::move(queue) : make_disk_queue(kDepth)),
        file_(*queue_, {shape.directory, shape.part, shape.layers * shape.blocks.n, shape.identity,
                        kDeadline}),
        together_(static_cast<std::size_t>(
            std::max<std::int64_t>(1, kRequest.n / file_.record_bytes().n))) {}
  ~LayerFile() { finish_all(); }
  LayerFile(const LayerFile&) = delete;
  LayerFile& operator=(const LayerFile&) = delete;

  void read(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte* room) {
    std::vector<Transfer> reads;
    std::vector<std::int32_t> now, later;  // later: their memory is still being written from
    for (const std::int32_t block : blocks) {
      (is_written_from(record(room, block)) ? later : now).push_back(block);
    }
    begin_reads(layer, now, room, reads);
    finish_writes(room);
    begin_reads(layer, later, room, reads);
    for (const Transfer& read : reads) {
      file_.finish_read(read.index, read.ticket, read.records, read.count);
    }
  }
  /// Returns at once: the room's memory belongs to the file until its next read, or finish_all.
  void write(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte* room) {
    each_run(blocks, together_, [&](std::int32_t first, std::int64_t count) {
      std::byte* const from = record(room, first);
      const std::int64_t at = index(layer, first);
      writing_.push_back({at, count, file_.begin_write(at, from, count), from, room});
    });
  }
  /// Before a room's memory is given back; what came of the writes is of no use any more.
  void finish_all() noexcept {
    for (const Transfer& write : std::exchange(writing_, {})) {
      static_cast<void>(queue_->wait(write.ticket, kDeadline));
    }
  }
  std::byte* record(std::byte* room, std::int32_t block) const {
    return room + file_.record_bytes().n * block;
  }
  Bytes record_bytes() const { return file_.record_bytes(); }

 private:
  struct Transfer {
    std::int64_t index, count;
    std::uint64_t ticket;
    std::byte *records, *room;
  };
  static constexpr int kDepth = 32;
  static constexpr Bytes kRequest{256 * 1024};
  static constexpr Seconds kDeadline{10};

  void begin_reads(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte* room,
                   std::vector<Transfer>& reads) {
    each_run(blocks, together_, [&](std::int32_t first, std::int64_t count) {
      std::byte* const to = record(room, first);
      const std::int64_t at = index(layer, first);
      reads.push_back({at, count, file_.begin_read(at, to, count), to, room});
    });
  }
  bool is_written_from(const std::byte* at) const {
    return std::any_of(writing_.begin(), writing_.end(), [&](const Transfer& write) {
      return at >= write.records && at < write.records + file_.record_bytes().n * write.count;
    });
  }
  void finish_writes(const std::byte* room) {
    std::vector<Transfer> others;
    for (const Transfer& write : std::exchange(writing_, {})) {
      if (write.room == room)
        file_.finish_write(write.index, write.ticket, write.count);
      else
        others.push_back(write);
    }
    writing_ = std::move(others);
  }
  std::int64_t index(std::int64_t layer, std::int32_t block) const {
    return layer * blocks_.n + block;
  }
  Blocks blocks_;
  std::unique_ptr<DiskQueue> queue_;
  BlockFile file_;
  std::size_t together_;  // records of a request
  std::vector<Transfer> writing_;
};

/// What is staged are whole records.
class DiskFar final : public KvFar {
 public:
  explicit DiskFar(const KvStreamShape& shape) : file_(shape, nullptr) {}

  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    file_.read(layer, blocks, staged - BlockFile::kHeader);
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    file_.write(layer, blocks, staged - BlockFile::kHeader);
  }

 private:
  LayerFile file_;
};

/// Records in pinned memory between the file and the device, which has the same places for them. A
/// room's last store is written when another layer wants the room: by then the device has long sent
/// it, and went on to compute.
class GpuDiskFar final : public KvFar {
 public:
  GpuDiskFar(Tier& host, SideCopies& copies, const KvStreamShape& shape,
             std::unique_ptr<DiskQueue> queue)
      : host_(host),
        copies_(copies),
        shape_(shape),
        file_(shape, std::move(queue)),
        rooms_(static_cast<std::size_t>(shape.staging)) {
    for (Room& room : rooms_) room.sent = copies.make_mark();
    region_ = host.reserve(pinned_records(shape), "pinned records of the KV cache on a disk");
    const auto address = reinterpret_cast<std::uintptr_t>(region_.data);
    const auto align = static_cast<std::uintptr_t>(BlockFile::kAlignment);
    std::byte* at = region_.data + (align - address % align) % align;
    for (Room& room : rooms_) {
      room.data = at;
      at += file_.record_bytes().n * shape.blocks.n;
    }
  }
  ~GpuDiskFar() override {
    file_.finish_all();
    host_.release(region_);
  }
  GpuDiskFar(const GpuDiskFar&) = delete;
  GpuDiskFar& operator=(const GpuDiskFar&) = delete;

  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    Room& room = room_of(layer);
    empty(room);
    file_.read(layer, blocks, room.data);
    move(room, blocks, staged, HostCopy::kToDevice);
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
             std::byte* staged) override {
    Room& room = room_of(layer);
    VRAMPLAN_CHECK(room.stored.empty());
    move(room, blocks, staged, HostCopy::kToHost);
    room.layer = layer;
    room.stored = blocks;
  }
  Bytes pinned_bytes() const override { return region_.size; }

 private:
  struct Room {
    std::byte* data = nullptr;
    std::size_t sent = 0;  // behind its copies
    bool in_flight = false;
    std::int64_t layer = 0;
    std::vector<std::int32_t> stored;  // not yet in the file
  };
  Room& room_of(std::int64_t layer) {
    return rooms_[static_cast<std::size_t>(layer % shape_.staging)];
  }
  /// Waits until nothing is on its way any more, and writes what came.
  void empty(Room& room) {
    if (room.in_flight) copies_.wait(room.sent);
    room.in_flight = false;
    if (room.stored.empty()) return;
    file_.write(room.layer, room.stored, room.data);
    room.stored.clear();
  }
  /// Whole records, header and all: it is the file's, and of no use on the device.
  void move(Room& room, const std::vector<std::int32_t>& blocks, std::byte* staged, HostCopy way) {
    each_run(blocks, blocks.size(), [&](std::int32_t first, std::int64_t count) {
      std::byte* const here = file_.record(room.data, first);
      std::byte* const there = file_.record(staged - BlockFile::kHeader, first);
      const bool up = way == HostCopy::kToDevice;
      copies_.copy(up ? there : here, up ? here : there, file_.record_bytes() * count, way);
    });
    copies_.set_mark(room.sent);
    room.in_flight = true;
  }

  Tier& host_;
  SideCopies& copies_;
  KvStreamShape shape_;
  LayerFile file_;
  std::vector<Room> rooms_;
  Region region_;
};

}  // namespace

std::unique_ptr<KvFar> make_host_far(Tier& tier, const KvStreamShape& shape, SideCopies* copies) {
  return std::make_unique<HostFar>(tier, shape, copies);
}

std::unique_ptr<KvFar> make_disk_far(const KvStreamShape& shape) {
  return std::make_unique<DiskFar>(shape);
}

std::unique_ptr<KvFar> make_gpu_disk_far(Tier& host, SideCopies& copies, const KvStreamShape& shape,
                                         std::unique_ptr<DiskQueue> queue) {
  return std::make_unique<GpuDiskFar>(host, copies, shape, std::move(queue));
}

}  // namespace vramplan
