#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(MaxPool, takes_the_first_of_the_largest_before_the_length) {
  for_each_run<MaxPoolForward>([](const MaxPoolForward& op, double, const MaxPoolForward&) {
    for (int b = 0; b < op.y.dim(0); ++b)
      for (int f = 0; f < op.y.dim(1); ++f) {
        int best = -1;
        for (int t = 0; t < op.lengths[b]; ++t)
          if (best < 0 || op.x[t][b][f] > op.x[best][b][f]) best = t;
        EXPECT_EQ(op.where[b][f], best) << b << ' ' << f;
        EXPECT_EQ(op.y[b][f], best < 0 ? 0 : op.x[best][b][f]) << b << ' ' << f;
      }
  });
}

TEST(MaxPool, ties_go_to_the_earliest_step) {
  Maker m;
  const MaxPoolForward op{.x = m.values<real>({4, 1, 2}, {1, 5, 3, 5, 3, 2, 3, 5}),
                          .lengths = m.values<int>({1}, {4}),
                          .y = m.output({1, 2}),
                          .where = m.output<int>({1, 2})};
  m.run(op);
  EXPECT_EQ(download(m.cpu(), op.where), (std::vector<int>{1, 0}));
}

}  // namespace
}  // namespace bib::test
