// Pieces of work that do not depend on each other: documents to encode, batches to predict.
#pragma once
#include <functional>

#include "bib/context.h"

namespace bib {

/// Calls piece(context, i) for i in 0..n-1, each i once, in any order; returns when all calls have. On the CPU the
/// context's threads take a piece each, with a context that has one thread and an arena of its own: nothing in a piece
/// waits for another thread. With fewer pieces than threads, and on a GPU, the pieces run in turn with ctx itself. What
/// is computed is the same to the bit. Each piece's arena is rewound after it. Rethrows the first exception.
void each_apart(Context& ctx, int n, const std::function<void(Context&, int)>& piece);

}  // namespace bib
