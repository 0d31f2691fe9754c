// What cpu/lstm.cpp and the kernels of cpu/lstm.simd.cpp share: plain data, so that nothing here becomes code.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

/// The sentences that one thread takes through time in one direction, longest first: the active ones are always the
/// first active[t]. A sentence's numbers do not depend on which others share its unit, so that the split into units may
/// follow the thread count without changing a bit.
struct LstmUnit {
  int T, B, D, I, H;    // of the whole op
  int direction;        // 0 left to right, 1 right to left
  int count, steps;     // sentences here; length of the longest
  const int* sentence;  // [count]    column in the batch
  const int* active;    // [steps+1]  sentences longer than t; active[steps] = 0
  const real* mask;     // [B,H] of this direction, or null
};

/// Gradients before the activations, by blocks of units: [block][packed token][i f g o][lanes], so that a block is a
/// packed panel to the weights' gradients and a token's row of a block is contiguous to the others.
struct LstmGradientRows {
  real* data;
  int blocks, tokens;  // tokens: of storage, which may be more than there are
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
  const real* w_h;        // packed by pack_rows
  const real *gates, *c;  // [T,B,4H] [T,B,H] of this direction
  const real* d_h;        // [T,B,D*H], moved to this direction's columns
  LstmGradientRows d_gates;
  const int* packed_row;   // [steps]  where step t begins in the packed tokens of the whole batch
  int first, stride;       // sentence j of the unit is number first + j stride among those of a step
  real *d_state, *d_cell;  // scratch [count, padded(H)]
};

/// d_x of packed tokens first..first+rows-1.
struct LstmInputGradient {
  LstmGradientRows d_gates;  // of all directions, so D times the blocks of one
  int first, rows, I;
  const real* w_x;   // packed by pack_rows
  real* sums;        // scratch [rows, padded(I)]
  real* const* d_x;  // [rows] addresses
};

/// Gradients of the weights of one block of units in one direction.
struct LstmWeightGradient {
  const real* d_gates;  // the block's rows of all packed tokens
  int tokens, I, H, block;
  const real* columns;  // [tokens / depth, rounded up][I+H+1][depth]: of x, of the masked h before, and ones (for b)
  real* products;       // scratch [I+H+1, 4 lanes]
  real *d_w_x, *d_w_h, *d_b;  // [4H,I] [4H,H] [4H]
};

struct LstmKernels {
  int lanes;
  int depth;  // tokens of one run of the weights' gradients; a multiple of lanes
  /// Sizes are padded to a multiple of `lanes`, and units come in blocks of `lanes`. pack_gates writes one block of
  /// w [4H,K]: K rows of the block's i, f, g, o vectors. pack_bias does the same for b [4H].
  void (*pack_gates)(const real* w, int H, int K, int block, real* packed);
  void (*pack_bias)(const real* b, int H, real* packed);
  /// One block of w [4H,N] as rows k.. of `depth` rows in the packed order of gates, in panels of up to 4 vectors.
  void (*pack_rows)(const real* w, int H, int N, int block, int k, int depth, real* packed);
  /// to[n*ld + r] = rows[r][n] * scales[r][n] for r < lanes, n < N; a null row is zeros, a null `scales` all ones.
  void (*pack_columns)(const real* const* rows, const real* const* scales, int N, real* to, int ld);
  void (*forward)(const LstmForwardUnit&);
  void (*backward)(const LstmBackwardUnit&);
  void (*input_gradient)(const LstmInputGradient&);
  void (*weight_gradient)(const LstmWeightGradient&);
};

BIB_TABLES(LstmKernels, lstm_kernels)

}  // namespace bib
