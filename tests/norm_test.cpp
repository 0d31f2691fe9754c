#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(NormSquared, adds_the_sum_of_squares) {
  for_each_run<NormSquared>([](const NormSquared& op, double tolerance, const NormSquared& before) {
    double sum = static_cast<double>(before.sum[0]);
    for (std::int64_t i = 0; i < op.x.size(); ++i) sum += double(op.x.data[i]) * double(op.x.data[i]);
    for (int u = 0; op.d_y && u < op.rows(); ++u)
      for (int e = 0; e < op.E; ++e) sum += row_gradient(op, u, e) * row_gradient(op, u, e);
    expect_near(op.sum, {sum}, tolerance, "sum");
  });
}

TEST(ClipScale, brings_the_norm_down_to_the_limit_and_never_up) {
  for_each_run<ClipScale>([](const ClipScale& op, double tolerance, const ClipScale&) {
    const double norm = std::sqrt(double(op.sum[0])), limit = op.max_norm;
    expect_near(op.scale, {limit > 0 && norm > limit ? limit / norm : 1}, tolerance, "scale");
  });
}

}  // namespace
}  // namespace bib::test
