#include "executor/cuda_side_copies.h"

namespace vramplan {

CudaSideCopies::~CudaSideCopies() {
  if (copies_.handle != nullptr) runtime_.destroy(copies_);
  if (computed_.handle != nullptr) runtime_.destroy(computed_);
  for (const cuda::Event& mark : marks_) {
    if (mark.handle != nullptr) runtime_.destroy(mark);
  }
}

std::size_t CudaSideCopies::make_mark() {
  if (copies_.handle == nullptr) copies_ = runtime_.make_stream();
  if (computed_.handle == nullptr) computed_ = runtime_.make_event();
  marks_.emplace_back();
  marks_.back() = runtime_.make_event();
  return marks_.size() - 1;
}

void CudaSideCopies::follow_computing() {
  runtime_.record(computed_, computing_);
  runtime_.wait(copies_, computed_);
}

void CudaSideCopies::copy(void* to, const void* from, Bytes size, HostCopy way) {
  runtime_.copy(copies_, to, from, size, copy_kind(way));
}

void CudaSideCopies::set_mark(std::size_t mark) { runtime_.record(marks_[mark], copies_); }

void CudaSideCopies::wait(std::size_t mark) { runtime_.synchronize(marks_[mark]); }

void CudaSideCopies::hold_computing(std::size_t mark) { runtime_.wait(computing_, marks_[mark]); }

}  // namespace vramplan
