// Denormal results become zero while this lives. Moments of a parameter without gradient decay into the denormal range
// and, rounding to nearest, stay there for good, where every operation costs a hundred times more.
#pragma once
#include <xmmintrin.h>

namespace bib {
namespace {

class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

}  // namespace
}  // namespace bib
