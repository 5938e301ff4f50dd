#pragma once
// CudaUpload: bytes of weights by way of two pinned buffers, so that a file is read while the bytes
// before are still crossing the bus; random matrices are made on the device.
#include <array>
#include <optional>

#include "executor/tier_cuda.h"
#include "executor/weight_upload.h"
#include "kernels/cuda/kernel_table.h"

namespace vramplan {

class CudaUpload final : public WeightUpload {
 public:
  static constexpr std::int64_t kBufferBytes = 16 * 1024 * 1024;
  static constexpr std::size_t kBuffers = 2;

  CudaUpload(cuda::Runtime& runtime, const cuda::KernelTable& kernels, cuda::Stream stream,
             Tier& host, bool random_on_host);
  ~CudaUpload() override;
  CudaUpload(const CudaUpload&) = delete;
  CudaUpload& operator=(const CudaUpload&) = delete;

  std::span<std::byte> buffer(std::int64_t wanted) override;
  void send(void* to, std::int64_t size) override;
  bool fill_random(const TensorView& tensor, const std::string& name, std::uint64_t seed) override;
  /// Both buffers now, whatever is sent: a process that has its weights from another still holds
  /// what its plan says.
  void take_buffers();
  Bytes pinned_bytes() const {
    Bytes bytes;
    for (const Buffer& buffer : buffers_) bytes += buffer.memory.size;
    return bytes;
  }

 private:
  struct Buffer {
    Region memory;
    cuda::Event sent;
    bool in_flight = false;
  };
  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  cuda::Stream stream_;
  Tier& host_;
  bool random_on_host_;
  std::array<Buffer, kBuffers> buffers_;
  std::size_t current_ = 0;
};

}  // namespace vramplan
