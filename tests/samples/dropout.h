#pragma once
#include "tests/harness.h"

namespace bib::test {

struct DropoutShape {
  std::string_view name;
  int T, B, C;
  float rate;
  bool variational = false;
  bool mask = false;  // x is left out
};

template <>
struct Samples<Dropout> {
  static constexpr DropoutShape shapes[] = {{"one", 1, 1, 1, 0.5f},
                                            {"no_steps", 0, 2, 3, 0.5f, true},
                                            {"no_batch", 3, 0, 4, 0.5f},
                                            {"rate_zero", 3, 2, 5, 0},
                                            {"odd_tails", 5, 3, 7, 0.3f},
                                            {"odd_tails_variational", 5, 3, 7, 0.3f, true},
                                            {"several_tasks", 11, 16, 101, 0.25f},
                                            {"several_tasks_variational", 4, 11, 203, 0.9f, true},
                                            {"rate_is_a_draw", 1, 1, 4096, 0},
                                            {"more_steps_than_slices", 37, 2, 9, 0.5f, true},
                                            {"more_steps_than_at_once", 83, 2, 10, 0.5f, true},
                                            {"mask", 2, 5, 300, 0.1f, false, true},
                                            {"mask_of_odd_size", 1, 3, 341, 0.4f, true, true}};
  static constexpr DropoutShape timed[] = {{"ner_64x32x256", 64, 32, 256, 0.5f},
                                           {"ner_64x32x256_variational", 64, 32, 256, 0.5f, true}};

  static Dropout make(Maker& m, const DropoutShape& s) {
    Dropout op{.x = s.mask ? View<real, 3>() : m.uniform({s.T, s.B, s.C}),
               .y = m.output({s.T, s.B, s.C}),
               .rate = s.rate,
               .variational = s.variational,
               .key = {.seed = 0x123456789abcdef, .step = 7, .stream = 3}};
    // The word that decides at this rate, of those that give the draw: the lowest one, which is kept.
    for (std::uint64_t i = 0; s.name == "rate_is_a_draw" && op.rate == 0; ++i)
      if ((random_word(op.key, i) & 0xFF) == 0) op.rate = random_uniform(op.key, i);
    return op;
  }
  static int reduction(const DropoutShape&) { return 1; }
};

template <>
struct Gradient<Dropout> {
  static auto inputs(auto& f) { return std::tie(f.x); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const Dropout& f, View<const real, 3> d_y) {
    if (!f.x) return std::tuple{View<real, 3>()};
    Dropout g = f;  // the same mask: same key
    g.x = d_y;
    g.y = m.output(d_y.shape);
    m.run(g);
    return std::tuple{g.y};
  }
};

}  // namespace bib::test
