#include "cpu/isa.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#else
#include <cpuid.h>
#endif

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bib {
namespace {

#define BIB_NAME(isa, ...) #isa,
constexpr const char* names[] = {BIB_EACH_ISA(BIB_NAME, )};
constexpr int count = sizeof names / sizeof *names;

#if defined(__aarch64__)
bool has(Isa) { return true; }
bool has_dot(Isa) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#else
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
bool has_dot(Isa isa) {
  if (isa == Isa::avx512) return __builtin_cpu_supports("avx512vnni");
  unsigned a = 0, b = 0, c = 0, d = 0;
  return isa == Isa::avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);  // AVX-VNNI
}
#endif

/// "base, avx2 or avx512"
std::string choices() {
  std::string text = names[0];
  for (int i = 1; i < count; ++i) text += (i + 1 < count ? ", " : " or ") + std::string(names[i]);
  return text;
}

Isa choose() {
  const char* wanted = std::getenv("BIB_CPU_ISA");
  for (int i = count; i-- > 0;) {
    const Isa isa{i};
    if (!wanted || !*wanted) {
      if (has(isa)) return isa;
    } else if (std::string_view(wanted) == names[i]) {
      if (has(isa)) return isa;
      throw std::invalid_argument(std::string("BIB_CPU_ISA=") + wanted + ": this CPU does not have it");
    }
  }
  throw std::invalid_argument("BIB_CPU_ISA=" + std::string(wanted) + ": unknown; use " + choices());
}

}  // namespace

bool has_dot() {
  const char* wanted = std::getenv("BIB_CPU_DOT");
  return !(wanted && *wanted == '0') && has_dot(isa());
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name(Isa isa) { return names[static_cast<int>(isa)]; }

}  // namespace bib
