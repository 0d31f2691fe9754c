#include "cpu/isa.h"

#include <cpuid.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bib {
namespace {

bool has(Isa isa) {
  __builtin_cpu_init();
  switch (isa) {
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && has(Isa::avx2);
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::base: break;
  }
  return true;
}

Isa choose() {
  const char* wanted = std::getenv("BIB_CPU_ISA");
  if (wanted && *wanted) {
    for (Isa isa : {Isa::base, Isa::avx2, Isa::avx512}) {
      if (std::string_view(wanted) != isa_name(isa)) continue;
      if (has(isa)) return isa;
      throw std::invalid_argument(std::string("BIB_CPU_ISA=") + wanted + ": this CPU does not have it");
    }
    throw std::invalid_argument(std::string("BIB_CPU_ISA=") + wanted + ": unknown; use base, avx2 or avx512");
  }
  return has(Isa::avx512) ? Isa::avx512 : has(Isa::avx2) ? Isa::avx2 : Isa::base;
}

}  // namespace

bool has_dot() {
  const char* wanted = std::getenv("BIB_CPU_DOT");
  if (wanted && *wanted == '0') return false;
  if (isa() == Isa::avx512) return __builtin_cpu_supports("avx512vnni");
  unsigned a = 0, b = 0, c = 0, d = 0;
  return isa() == Isa::avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);  // AVX-VNNI
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    case Isa::base: break;
  }
  return "base";
}

}  // namespace bib
