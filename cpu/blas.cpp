#include "cpu/blas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bib {
namespace {

Blas open_openblas() {
  void* const library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw std::invalid_argument(std::string("BIB_CPU_BLAS is openblas, but it cannot be opened: ") + dlerror() +
                                "; install it (Debian: libopenblas0), or unset BIB_CPU_BLAS for bib's own products");
  const auto symbol = [&](const char* name) {
    if (void* p = dlsym(library, name)) return p;
    throw std::invalid_argument(std::string("BIB_CPU_BLAS: libopenblas.so.0 has no ") + name);
  };
  // Its own threads would compete with ours, and the order of its sums would depend on their number.
  reinterpret_cast<void (*)(int)>(symbol("openblas_set_num_threads"))(1);
  Blas b;
  b.gemm = reinterpret_cast<decltype(b.gemm)>(symbol(sizeof(real) == sizeof(float) ? "cblas_sgemm" : "cblas_dgemm"));
  return b;
}

}  // namespace

const Blas* blas() {
  const char* const wanted = std::getenv("BIB_CPU_BLAS");
  if (!wanted || !*wanted || std::string_view(wanted) == "bib") return nullptr;
  if (std::string_view(wanted) != "openblas")
    throw std::invalid_argument("BIB_CPU_BLAS is '" + std::string(wanted) + "'; it may be bib or openblas");
  static const Blas opened = open_openblas();
  return &opened;
}

}  // namespace bib
