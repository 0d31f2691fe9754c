// The inner loops of dropout, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct DropoutSimd {
  /// words[4 i + j] = word j of philox(key, block + i), i in 0..blocks-1 (bib/random.h). Writes whole vectors: there
  /// must be room for `blocks` rounded up to a multiple of 8.
  void (*philox)(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::uint64_t block, int blocks,
                 std::uint32_t* words);
  /// y = words >= threshold ? scale x : 0; y may be x.
  void (*keep)(const std::uint32_t* words, std::uint32_t threshold, real scale, int n, const real* x, real* y);
};

BIB_TABLES(DropoutSimd, dropout)

}  // namespace bib
