#pragma once
// Communicator: what one rank says to the others. Single needs nobody; Dry counts bytes and time as
// one rank of many. MPI and NCCL come behind the same interface.
#include "kernels/tensor.h"

namespace vramplan {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// x = sum over ranks of x, in place.
  virtual void all_reduce(TensorView x) = 0;
  /// out [rows, size * columns] from x [rows, columns] of each rank.
  virtual void all_gather(TensorView out, TensorView x) = 0;
  virtual void send(TensorView x, int to) = 0;
  virtual void receive(TensorView x, int from) = 0;
  Bytes moved() const { return moved_; }

 protected:
  Bytes moved_;
};

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(TensorView) override {}
  void all_gather(TensorView out, TensorView x) override;
  void send(TensorView, int) override;
  void receive(TensorView, int) override;
};

}  // namespace vramplan
