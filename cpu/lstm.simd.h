// What cpu/lstm.cpp and the kernels of cpu/lstm.simd.cpp share: plain data, so that nothing here becomes code.
#pragma once
#include "bib/real.h"

namespace bib {

/// The sentences that one thread takes through time in one direction, longest first: the active ones are always the
/// first active[t]. A sentence's numbers do not depend on which others share its unit, so that the split into units may
/// follow the thread count without changing a bit.
struct LstmUnit {
  int T, B, D, I, H;      // of the whole op
  int direction;          // 0 left to right, 1 right to left
  int count, steps;       // sentences here; length of the longest
  const int* sentence;    // [count]    column in the batch
  const int* active;      // [steps+1]  sentences longer than t; active[steps] = 0
  const real* mask;       // [B,H] of this direction, or null
  const int* packed_row;  // [steps]    where step t begins in the packed tokens of the whole batch; backward only
  int first, stride;      // sentence j of the unit is number first + j stride in the order of all
};

struct LstmForwardUnit : LstmUnit {
  const real* x;          // [T,B,I]
  const real *w_x, *w_h;  // packed by pack_gates
  const real* b;          // packed by pack_bias
  real* h;                // [T,B,D*H], moved to this direction's columns
  real *gates, *c;        // [T,B,4H] [T,B,H] of this direction, or null
  // Scratch.
  int chunk_rows;         // at least count
  const real** rows;      // [chunk_rows]
  real* products;         // [chunk_rows, 4 padded(H)]  w_x x + b, in the packed order of gates
  real *state[2], *cell;  // [count, padded(H)]  masked h of the last step and of this one; c
};

struct LstmBackwardUnit : LstmUnit {
  const real* w_h;         // packed by pack_rows
  const real *gates, *c;   // [T,B,4H] [T,B,H] of this direction
  const real* d_h;         // [T,B,D*H], moved to this direction's columns
  real* d_gates;           // [packed tokens, D*4H], moved to this direction's columns: before the activations
  const real** rows;       // scratch [count]
  real** d_rows;           // scratch [count]
  real *d_state, *d_cell;  // scratch [count, padded(H)]
};

/// Rows of C = rows of A times panels packed by pack_rows.
struct PanelProduct {
  int rows, k, n;
  const real* const* a;  // [rows] each of k
  const real* panels;
  real* const* c;  // [rows] each of n
};

struct LstmKernels {
  int lanes;
  /// Sizes are padded to a multiple of `lanes`. pack_gates writes unit block `block` (lanes units) of w [4H,K]: K rows
  /// of the block's i, f, g, o vectors. pack_bias does the same for b [4H].
  void (*pack_gates)(const real* w, int H, int K, int block, real* packed);
  void (*pack_bias)(const real* b, int H, real* packed);
  /// w [K,N] as panels of up to 4 vectors of columns, each panel's K rows one after another.
  void (*pack_rows)(const real* w, int K, int N, real* packed);
  void (*forward)(const LstmForwardUnit&);
  void (*backward)(const LstmBackwardUnit&);
  void (*product)(const PanelProduct&);
  /// sums[j] += sum over rows r, in order, of a[r*ld + j] for j < n.
  void (*column_sums)(const real* a, int rows, int ld, int n, real* sums);
};

namespace base {
extern const LstmKernels lstm_kernels;
}
namespace avx2 {
extern const LstmKernels lstm_kernels;
}
namespace avx512 {
extern const LstmKernels lstm_kernels;
}

}  // namespace bib
