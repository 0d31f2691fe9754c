// cpu/vec.h as plain functions, one table per instruction set.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct VecFunctions {
  int lanes;
  void (*exp)(const real* x, real* y, int n);  // n a multiple of lanes
  void (*tanh)(const real* x, real* y, int n);
  void (*sigmoid)(const real* x, real* y, int n);
  void (*copy_some)(const real* x, real* y, int n);                   // n <= lanes; what lies beyond is not touched
  void (*load_some)(const real* x, int n, real rest, real* y);        // y has all lanes
  void (*transpose)(const real* x, real* y);                          // [lanes,lanes]
  void (*fma)(const real* a, const real* b, const real* c, real* y);  // one vector
  real (*sum)(const real* x);
  real (*largest)(const real* x);
};

BIB_TABLES(VecFunctions, vec_functions)

}  // namespace bib
