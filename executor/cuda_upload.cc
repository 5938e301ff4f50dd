#include "executor/cuda_upload.h"

#include <algorithm>
#include <cmath>

namespace vramplan {
namespace {

std::uint64_t hash_of(const std::string& text) {  // FNV-1a, 64 bits
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

CudaUpload::CudaUpload(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
                       cuda::Stream stream, Tier& host, bool random_on_host)
    : runtime_(runtime),
      kernels_(kernels),
      stream_(stream),
      host_(host),
      random_on_host_(random_on_host) {}

CudaUpload::~CudaUpload() {
  for (Buffer& buffer : buffers_) {
    runtime_.destroy(buffer.sent);
    host_.release(buffer.memory);
  }
}

void CudaUpload::take_buffers() {
  for (Buffer& buffer : buffers_) {
    if (buffer.memory.data != nullptr) continue;
    buffer.memory = host_.reserve({kBufferBytes}, "the staging of weights");
  }
}

std::span<std::byte> CudaUpload::buffer(std::int64_t wanted) {
  Buffer& buffer = buffers_[current_];
  if (buffer.memory.data == nullptr) {
    buffer.memory = host_.reserve({kBufferBytes}, "the staging of weights");
  }
  if (buffer.sent.handle == nullptr) buffer.sent = runtime_.make_event();
  if (buffer.in_flight) runtime_.synchronize(buffer.sent);
  buffer.in_flight = false;
  return {buffer.memory.data, static_cast<std::size_t>(std::min(wanted, kBufferBytes))};
}

void CudaUpload::send(void* to, std::int64_t size) {
  Buffer& buffer = buffers_[current_];
  runtime_.copy(stream_, to, buffer.memory.data, {size}, cuda::CopyKind::kToDevice);
  buffer.in_flight = true;  // also when the next call fails
  runtime_.record(buffer.sent, stream_);
  current_ = (current_ + 1) % kBuffers;
}

bool CudaUpload::fill_random(const TensorView& tensor, const std::string& name,
                             std::uint64_t seed) {
  const bool plain =
      tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16;
  if (random_on_host_ || !plain) return false;
  // Uniform in (-r, r) has the standard deviation r / sqrt(3): here 1 / sqrt(columns).
  const float range = std::sqrt(3.0F / static_cast<float>(tensor.columns));
  kernels_.fill_random(stream_, tensor, hash_of(name) ^ (seed * 0x9e3779b97f4a7c15ULL), range);
  return true;
}

}  // namespace vramplan
