// Run-time choice of the instruction set. Sources named *.simd.cpp are compiled once per set of the architecture
// (cmake/isa.cmake), each into a namespace of the set's name, like bib::avx2; BIB_SELECT picks one of their tables of
// functions.
#pragma once
#include <initializer_list>

// one(set, ...) for every set, poorest first.
#if defined(__aarch64__)
#define BIB_EACH_ISA(one, ...) one(neon, __VA_ARGS__)
#else
#define BIB_EACH_ISA(one, ...) one(base, __VA_ARGS__) one(avx2, __VA_ARGS__) one(avx512, __VA_ARGS__)
#endif

// Declares each set's table of that name.
#define BIB_DECLARE_TABLE(isa, Table, name) \
  namespace isa {                           \
  extern const Table name;                  \
  }
#define BIB_TABLES(Table, name) BIB_EACH_ISA(BIB_DECLARE_TABLE, Table, name)

// The table of that name of the set in use.
#define BIB_TABLE_ADDRESS(isa, name) &isa::name,
#define BIB_SELECT(name) select({BIB_EACH_ISA(BIB_TABLE_ADDRESS, name)})

namespace bib {

// base = x86-64-v2, neon = ARMv8.0; Isa's values are the sets' places in BIB_EACH_ISA.
#define BIB_ENUMERATOR(isa, ...) isa,
enum class Isa { BIB_EACH_ISA(BIB_ENUMERATOR, ) };
#undef BIB_ENUMERATOR

/// The best set this CPU has, or BIB_CPU_ISA=base|avx2|avx512, on ARM neon; decided once. Throws std::invalid_argument
/// when BIB_CPU_ISA names an unknown set or one that this CPU lacks.
Isa isa();
const char* isa_name(Isa isa);

/// Whether the CPU has instructions for dot products of small integers at that set's vector length (AVX512-VNNI,
/// AVX-VNNI; of 8 bits, SDOT); BIB_CPU_DOT=0, read at every call: no. They change no bit.
bool has_dot();

template <class Table>
const Table& select(std::initializer_list<const Table*> tables) {
  return *tables.begin()[static_cast<int>(isa())];
}

}  // namespace bib
