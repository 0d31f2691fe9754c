// Denormal results become zero while this lives. Moments of a parameter without gradient decay into the denormal range
// and, rounding to nearest, stay there for good, where every operation costs a hundred times more.
#pragma once
#include <cstdint>
#if !defined(__aarch64__)
#include <xmmintrin.h>
#endif

namespace bib {
namespace {

class FlushDenormals {
 public:
  FlushDenormals() : before_(control()) { set_control(before_ | flush); }
  ~FlushDenormals() { set_control(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__aarch64__)
  static constexpr std::uint64_t flush = 1 << 24;  // FZ, of operands and results
  static std::uint64_t control() {
    std::uint64_t fpcr;
    asm volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
  }
  static void set_control(std::uint64_t fpcr) { asm volatile("msr fpcr, %0" ::"r"(fpcr) : "memory"); }
#else
  static constexpr unsigned flush = 0x8040;  // flush to zero, denormals are zero
  static unsigned control() { return _mm_getcsr(); }
  static void set_control(unsigned mxcsr) { _mm_setcsr(mxcsr); }
#endif
  decltype(control()) before_;
};

}  // namespace
}  // namespace bib
