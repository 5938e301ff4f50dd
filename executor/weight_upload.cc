#include "executor/weight_upload.h"

#include <algorithm>
#include <cstring>

namespace vramplan {

void WeightUpload::send_all(void* to, std::span<const std::byte> from) {
  auto* at = static_cast<std::byte*>(to);
  while (!from.empty()) {
    const std::span<std::byte> room = buffer(static_cast<std::int64_t>(from.size()));
    const std::size_t size = std::min(room.size(), from.size());
    std::memcpy(room.data(), from.data(), size);
    send(at, static_cast<std::int64_t>(size));
    at += size;
    from = from.subspan(size);
  }
}

}  // namespace vramplan
