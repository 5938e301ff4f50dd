#pragma once
// Fiber: a stack of its own and a place to continue from. The switch is hand written for x86-64
// (ucontext elsewhere); it saves no signal mask and no floating-point control word, which kernels
// do not change. Sanitizers are told about every switch.
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
// Set for this library, which itself is not instrumented, when kernels run under ThreadSanitizer.
#ifndef VRAMPLAN_SIMT_TSAN
#define VRAMPLAN_SIMT_TSAN 0
#endif

namespace simt {

// ThreadSanitizer writes its reports on the stack of the thread that raced.
inline constexpr std::size_t kStackBytes = VRAMPLAN_SIMT_TSAN ? 1024 * 1024 : 128 * 1024;

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// The next `resume` starts entry(argument) on this fiber's stack, whatever was on it before.
  /// `entry` must not return: it leaves by suspend().
  void start(void (*entry)(void*), void* argument);
  /// From the scheduler: runs the fiber until it suspends.
  void resume();
  /// From inside the fiber: back to the scheduler.
  void suspend();

 private:
  void allocate();
  friend void enter(Fiber* fiber);

  std::byte* stack_ = nullptr;  // kStackBytes after one guard page
#if defined(__x86_64__)
  void* own_ = nullptr;  // saved stack pointers
  void* caller_ = nullptr;
#else
  ucontext_t own_{}, caller_{};
#endif
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* own_fake_ = nullptr;  // AddressSanitizer's fake stacks
  void* caller_fake_ = nullptr;
  const void* caller_stack_ = nullptr;
  std::size_t caller_stack_bytes_ = 0;
  void* own_tsan_ = nullptr;
  void* caller_tsan_ = nullptr;
};

}  // namespace simt
