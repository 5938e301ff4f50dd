#pragma once
// Quiet: while it lives, ThreadSanitizer does not look at what this fiber reads and writes. For the
// runtime's own books: inline functions of the standard library that it shares with instrumented
// files, and interceptors of memcpy and free, are seen even where the runtime is not instrumented.
#include "fiber.h"

#if VRAMPLAN_SIMT_TSAN
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace simt {

/// No fiber switch may happen while it lives.
class Quiet {
 public:
#if VRAMPLAN_SIMT_TSAN
  Quiet() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Quiet() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Quiet() {}  // not trivial: a variable of this type is used by living
#endif
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

}  // namespace simt
