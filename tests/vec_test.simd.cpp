#include "cpu/vec.h"

#include "tests/vec_test.h"

namespace bib::BIB_ISA {

const VecFunctions vec_functions{
    .lanes = lanes,
    .exp =
        [](const real* x, real* y, int n) {
          for (int i = 0; i < n; i += lanes) store(y + i, exp(load(x + i)));
        },
    .tanh =
        [](const real* x, real* y, int n) {
          for (int i = 0; i < n; i += lanes) store(y + i, tanh(load(x + i)));
        },
    .sigmoid =
        [](const real* x, real* y, int n) {
          for (int i = 0; i < n; i += lanes) store(y + i, sigmoid(load(x + i)));
        },
    .copy_some = [](const real* x, real* y, int n) { store_some(y, load_some(x, n), n); },
    .load_some = [](const real* x, int n, real rest, real* y) { store(y, load_some(x, n, rest)); },
    .transpose =
        [](const real* x, real* y) {
          vec rows[lanes];
          for (int i = 0; i < lanes; ++i) rows[i] = load(x + i * lanes);
          transpose(rows);
          for (int i = 0; i < lanes; ++i) store(y + i * lanes, rows[i]);
        },
    .fma = [](const real* a, const real* b, const real* c, real* y) { store(y, fma(load(a), load(b), load(c))); },
    .sum = [](const real* x) { return sum(load(x)); },
    .largest = [](const real* x) { return largest(load(x)); }};

}  // namespace bib::BIB_ISA
