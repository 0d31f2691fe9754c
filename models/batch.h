// A batch on the host, and its views on a device. Time-major: entry (t, b) stands at t*B + b.
#pragma once
#include <span>
#include <vector>

#include "bib/context.h"
#include "bib/random.h"
#include "models/features.h"

namespace bib {

/// Which rows of a table a batch looks up, and from where: what EmbeddingBackward and the row optimisers read.
/// rows are unique, in order of first use; positions[offsets[u] : offsets[u+1]] ascend.
struct RowIndex {
  std::vector<int> rows, offsets, positions;
  int most = 0;  // positions of a row
};
RowIndex index_rows(std::span<const int> ids);

struct Batch {
  int T = 0, B = 0;
  std::vector<int> lengths;           // [B]
  std::vector<std::vector<int>> ids;  // per channel [T*B], -1 = padding
  std::vector<RowIndex> rows;         // per channel; training only

  // Character convolution: each distinct word of the batch once.
  int character_T = 0, W = 0;
  std::vector<int> word_of;            // [T*B]  which distinct word, -1 = padding
  std::vector<int> character_ids;      // [character_T*W]
  std::vector<int> character_lengths;  // [W]
  RowIndex word_rows, character_rows;  // training only

  std::vector<int> tags;      // NER  [T*B], -1 = not annotated or padding
  std::vector<int> labels;    // TC, exclusive classes  [B]
  std::vector<real> targets;  // TC, multi-label  [B*K]
  std::vector<real> weight;   // [B]
};

/// Hides entries behind "unknown" (id 0) so that it is trained: each id of an open channel with probability `rate`.
struct UnknownDropout {
  float rate = 0;
  RandomKey key;
};

/// Pads the texts to one length. `train`: the row indices are built too. At least one time step, so that shapes are
/// legal.
Batch make_batch(const Features& features, std::span<const EncodedText* const> texts, bool train,
                 UnknownDropout dropout = {});

struct DeviceRows {
  View<const int, 1> rows, offsets, positions;
  int most = 0;  // as the index's
};
DeviceRows upload(Context& ctx, const RowIndex& index);

/// The part of a batch that models read, on the context's device, in its arena.
struct DeviceBatch {
  int T = 0, B = 0;
  View<const int, 1> lengths;
  std::vector<View<const int, 2>> ids;
  std::vector<DeviceRows> rows;
  View<const int, 2> word_of, character_ids;
  View<const int, 1> character_lengths;
  DeviceRows word_rows, character_rows;
};
DeviceBatch upload(Context& ctx, const Batch& batch);

}  // namespace bib
