#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(Linear, equals_its_formula) {
  for_each_run<LinearForward>([](const LinearForward& op, double tolerance, const LinearForward&) {
    std::vector<double> y;
    for (int n = 0; n < op.x.dim(0); ++n)
      for (int o = 0; o < op.w.dim(0); ++o) {
        double sum = static_cast<double>(op.b[o]);
        for (int i = 0; i < op.x.dim(1); ++i) sum += double(op.x[n][i]) * double(op.w[o][i]);
        y.push_back(sum);
      }
    expect_near(op.y, y, tolerance, "y");
  });
}

TEST(Linear, a_row_does_not_depend_on_the_rows_beside_it) {
  Maker m;
  for (const int O : {1, 3, 8, 21, 64, 130}) {
    const int N = 53, I = 320;
    const LinearForward all{.x = m.uniform({N, I}), .w = m.uniform({O, I}), .b = m.uniform({O}), .y = m.output({N, O})};
    m.run(all);
    for (int count : {1, 2, 7, 31}) {
      for (int first = 0; first + count <= N; first += 5) {
        const LinearForward some{
            .x = {all.x[first].data, {count, I}}, .w = all.w, .b = all.b, .y = m.output({count, O})};
        m.run(some);
        for (int n = 0; n < count; ++n)
          for (int o = 0; o < O; ++o)
            ASSERT_EQ(some.y[n][o], all.y[first + n][o]) << O << " outputs, " << count << " rows";
      }
    }
  }
}

TEST(Linear, shapes_that_disagree_are_named) {
  Maker m;
  const LinearForward op{.x = m.uniform({2, 3}), .w = m.uniform({4, 5}), .b = m.uniform({4}), .y = m.output({2, 4})};
  try {
    m.run(op);
    FAIL() << "accepted";
  } catch (const std::invalid_argument& e) {
    EXPECT_STREQ(e.what(), "linear_forward: w is [4,5], expected [4,3]");
  }
}

}  // namespace
}  // namespace bib::test
