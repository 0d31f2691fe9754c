#include "kernels/blas.h"

#include <dlfcn.h>

namespace bib::device {
namespace {

void* open_library() {
  for (const char* name : {"libcublas.so." BIB_CUBLAS_MAJOR, "/usr/local/cuda/lib64/libcublas.so." BIB_CUBLAS_MAJOR})
    if (void* p = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return p;
  return nullptr;
}

template <class F>
bool find(void* from, F& function, const char* name) {
  function = reinterpret_cast<F>(dlsym(from, name));
  return function != nullptr;
}

struct Loaded {
  Blas functions{};
  bool complete = false;

  Loaded() {
    void* const from = open_library();
    complete = from && find(from, functions.create, "cublasCreate_v2") &&
               find(from, functions.destroy, "cublasDestroy_v2") &&
               find(from, functions.set_stream, "cublasSetStream_v2") &&
               find(from, functions.set_workspace, "cublasSetWorkspace_v2") &&
               find(from, functions.set_math, "cublasSetMathMode") && find(from, functions.sgemm, "cublasSgemm_v2") &&
               find(from, functions.gemm_batched, "cublasGemmStridedBatchedEx");
  }
};

}  // namespace

const Blas* blas() {
  static const Loaded loaded;
  return loaded.complete ? &loaded.functions : nullptr;
}

}  // namespace bib::device
