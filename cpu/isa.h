// Run-time choice of the instruction set. Sources named *.simd.cpp are compiled once per set (CMakeLists.txt), each
// into its own namespace bib::base, bib::avx2, bib::avx512; select() picks between their tables of functions.
#pragma once

namespace bib {

enum class Isa { base, avx2, avx512 };  // base = x86-64-v2

/// The best set this CPU has, or BIB_CPU_ISA=base|avx2|avx512; decided once. Throws std::invalid_argument when
/// BIB_CPU_ISA names an unknown set or one that this CPU lacks.
Isa isa();
const char* isa_name(Isa isa);

/// Whether the CPU has instructions for dot products of small integers at that set's vector length (AVX512-VNNI,
/// AVX-VNNI); BIB_CPU_DOT=0, read at every call: no. They change no bit.
bool has_dot();

template <class Table>
const Table& select(const Table& base, const Table& avx2, const Table& avx512) {
  switch (isa()) {
    case Isa::avx512: return avx512;
    case Isa::avx2: return avx2;
    case Isa::base: break;
  }
  return base;
}

}  // namespace bib
