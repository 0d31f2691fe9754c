// What this machine can do at best, measured in the run that is compared with it: other work and clock rates differ
// from run to run.
#pragma once
#include <map>

#include "bib/context.h"

namespace bib::bench {

/// Ceilings of a CPU context, on all of its threads. Best of several short runs.
class Roof {
 public:
  explicit Roof(int threads) : ctx_({.threads = threads}) {}

  /// fp32 multiply-adds from registers, in operations per second (a multiply-add is two).
  double flops();
  /// The same of products of 16- and of 8-bit integers: what `fast` and `int8` prediction run on.
  double integer_ops(int bits);
  /// Bytes read and written per second by a loop over data of this size: cache or memory, wherever so much data lies.
  double bandwidth(double size);
  /// The least seconds that the work can take: so many bytes moved, of data of this size.
  double seconds(double flops, double bytes, double size);

 private:
  Context ctx_;
  double flops_ = 0;
  std::map<std::int64_t, double> bandwidth_;  // by elements
};

}  // namespace bib::bench
