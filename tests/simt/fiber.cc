#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define VRAMPLAN_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VRAMPLAN_SIMT_ASAN 1
#endif
#endif
#ifdef VRAMPLAN_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if VRAMPLAN_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
// simt_switch(void** save, void* to): pushes the callee-saved registers, stores the stack pointer
// in *save, takes `to` for a stack pointer and pops what was pushed there.
extern "C" void simt_switch(void** save, void* to);
asm(R"(
.text
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");
#endif

namespace simt {
namespace {

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

thread_local Fiber* starting = nullptr;

}  // namespace

void enter(Fiber* fiber) {
#ifdef VRAMPLAN_SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &fiber->caller_stack_, &fiber->caller_stack_bytes_);
#endif
  fiber->entry_(fiber->argument_);
  std::abort();
}

namespace {
void trampoline() { enter(starting); }
}  // namespace

Fiber::~Fiber() {
#if VRAMPLAN_SIMT_TSAN
  if (own_tsan_ != nullptr) __tsan_destroy_fiber(own_tsan_);
#endif
  if (stack_ != nullptr) munmap(stack_ - page_bytes(), kStackBytes + page_bytes());
}

void Fiber::allocate() {
  void* memory = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page_bytes(), PROT_NONE);
  stack_ = static_cast<std::byte*>(memory) + page_bytes();
}

void Fiber::start(void (*entry)(void*), void* argument) {
  if (stack_ == nullptr) allocate();
  entry_ = entry;
  argument_ = argument;
  own_fake_ = nullptr;
#ifdef VRAMPLAN_SIMT_ASAN
  __asan_unpoison_memory_region(stack_, kStackBytes);  // an abandoned fiber leaves its frames
#endif
#if VRAMPLAN_SIMT_TSAN
  if (own_tsan_ != nullptr) __tsan_destroy_fiber(own_tsan_);
  own_tsan_ = __tsan_create_fiber(0);
#endif
#if defined(__x86_64__)
  // What simt_switch pops: six registers, then the address it returns to. A function starts with
  // the stack 8 bytes past a multiple of 16.
  auto* top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&trampoline);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  own_ = top;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  makecontext(&own_, trampoline, 0);
#endif
}

void Fiber::resume() {
  starting = this;
#ifdef VRAMPLAN_SIMT_ASAN
  __sanitizer_start_switch_fiber(&caller_fake_, stack_, kStackBytes);
#endif
#if VRAMPLAN_SIMT_TSAN
  caller_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(own_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  simt_switch(&caller_, own_);
#else
  swapcontext(&caller_, &own_);
#endif
#ifdef VRAMPLAN_SIMT_ASAN
  __sanitizer_finish_switch_fiber(caller_fake_, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#ifdef VRAMPLAN_SIMT_ASAN
  __sanitizer_start_switch_fiber(&own_fake_, caller_stack_, caller_stack_bytes_);
#endif
#if VRAMPLAN_SIMT_TSAN
  __tsan_switch_to_fiber(caller_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  simt_switch(&own_, caller_);
#else
  swapcontext(&own_, &caller_);
#endif
#ifdef VRAMPLAN_SIMT_ASAN
  __sanitizer_finish_switch_fiber(own_fake_, &caller_stack_, &caller_stack_bytes_);
#endif
}

}  // namespace simt
