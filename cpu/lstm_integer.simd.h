// The LSTM's forward pass with products of integers, for prediction: weights and activations become 8- or 16-bit codes,
// products are summed exactly, everything else is float. Plain data, so that nothing here becomes code.
#pragma once
#include "cpu/lstm.simd.h"

namespace bib {

/// w [4H,K] as codes: w = code * scale of its row. Four (8 bits) or two (16 bits) codes of neighbouring k make a group.
/// Sizes are padded to multiples of `lanes` with zeros.
struct IntegerWeights {
  int* codes;    // [blocks of H][groups of K][i f g o][lanes]  one group each
  int* start;    // [blocks][i f g o][lanes]  what a sum begins with: takes the activations' zero point back
  float* scale;  // [blocks][i f g o][lanes]  of one unit of a sum: of a weight's code; for w_h also of h's
};

struct LstmIntegerUnit : LstmUnit {
  const float* x;            // [T,B,I]
  IntegerWeights w_x, w_h;   // of this direction
  const float* b;            // as LstmForwardUnit's
  float* h;                  // [T,B,D*H], moved to this direction's columns
  float levels_x, levels_h;  // the largest code of an activation
  // Scratch.
  int chunk_rows;           // at least count
  unsigned char* x_codes;   // [chunk_rows, padded(I) codes]
  float* x_scale;           // [chunk_rows]  of a code: each token has its own
  float* products;          // [chunk_rows, 4 padded(H)]
  unsigned char* state[2];  // [count, padded(H) codes]  h of the last step and of this one
  float* cell;              // [count, padded(H)]
};

struct LstmIntegerKernels {
  int lanes;
  int zero[2];  // the code of 0 in activations; by code: 16 bits, 8 bits
  /// By code (16 bits, 8 bits), and by whether the CPU has an instruction for their dot product: the same bits.
  void (*forward[2][2])(const LstmIntegerUnit&);
};

BIB_TABLES(LstmIntegerKernels, lstm_integer)

}  // namespace bib
