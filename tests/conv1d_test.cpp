#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(Conv1d, equals_its_formula) {
  for_each_run<Conv1dForward>([](const Conv1dForward& op, double tolerance, const Conv1dForward&) {
    const int T = op.x.dim(0), W = op.w.dim(0), C = op.w.dim(1);
    std::vector<double> y;
    for (int p = 0; p < op.y.dim(0); ++p)
      for (int b = 0; b < op.y.dim(1); ++b)
        for (int f = 0; f < op.y.dim(2); ++f) {
          double sum = static_cast<double>(op.b[f]);
          for (int w = 0; w < W; ++w) {
            const int t = p + w - op.pad;
            for (int c = 0; c < C && t >= 0 && t < T; ++c) sum += double(op.x[t][b][c]) * double(op.w[w][c][f]);
          }
          y.push_back(sum);
        }
    expect_near(op.y, y, tolerance, "y");
  });
}

TEST(Conv1d, input_shorter_than_the_window_is_refused) {
  Maker m;
  const Conv1dForward op{
      .x = m.uniform({2, 1, 3}), .w = m.uniform({4, 3, 2}), .b = m.uniform({2}), .y = m.output({0, 1, 2})};
  EXPECT_THROW(m.run(op), std::invalid_argument);
}

}  // namespace
}  // namespace bib::test
