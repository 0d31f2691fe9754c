// What a timed row answered, to be compared with another run of it: races, and kernels that start too early, show at
// sizes and speeds that no test has.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/layers.h"

namespace bib::bench {

/// Says where a row's answer differs, and from what.
struct WrongAnswer : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a run left in one output.
struct Answer {
  std::string name;
  std::vector<int> shape;
  bool integers;
  std::vector<std::uint32_t> bits;
};
using Answers = std::vector<Answer>;

/// What outputs that are set, and the context's scratch memory, hold before a run: nothing that may matter. With
/// all bits set a real is no number, and an index -1.
enum class Before : std::uint8_t { bits, zeros };

/// What so many runs leave in all outputs (or only in the first); outputs changed in place begin with zeros. The
/// run is a copy: what it keeps from one call to the next begins anew.
Answers answers_of(Context& ctx, const Operands& operands, Run run, int times, Before before, bool only_first = false);

/// Throws WrongAnswer where something is no number.
void expect_numbers(const Answers& got);

/// Throws WrongAnswer where bits differ, in the outputs that `other` has. `whose`: "in another run".
void expect_same(const Answers& got, const Answers& other, const std::string& whose);

/// Forward |a - b| <= tolerance (|b| + rms(b)), as docs/numerics.md has it. Gradients (d_...) as a whole,
/// rms(a - b) <= tolerance rms(b): among so many there are some whose large terms cancel, but for rounding.
struct Tolerance {
  double forward, backward;
  double magnitude = 0;  // that rms(b) is taken to be at least
};

/// Throws WrongAnswer where the reals differ by more; integers are choices, which rounding may change. Returns the
/// largest share of the allowed difference that there is.
double expect_close(const Answers& got, const Answers& other, const Tolerance& tolerance, const std::string& whose);

}  // namespace bib::bench
