// Float arithmetic that takes and gives zero for denormal numbers (below 1.2e-38), as long as it
// lives, on its thread. A denormal costs a processor some hundred cycles, and late in training the
// gradients of sharp softmaxes are full of them; nothing they could add to is that small.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace cadre {

class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero);
  }
  ~FlushDenormals() { _mm_setcsr(before_); }
#else
  FlushDenormals() = default;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

#if defined(__x86_64__)
 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;  // of MXCSR
  unsigned before_;
#endif
};

}  // namespace cadre
