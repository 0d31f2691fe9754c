// The vector functions of each instruction set against the C library: the errors that cpu/vec.h states.
#include "tests/vec_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cpu/isa.h"

namespace bib {
namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();
constexpr real nan = std::numeric_limits<real>::quiet_NaN();
constexpr real epsilon = std::numeric_limits<real>::epsilon();

const VecFunctions& functions() { return BIB_SELECT(vec_functions); }

/// low..high evenly, and both signs of every binade down to 1e-30.
std::vector<real> arguments(real low, real high) {
  std::vector<real> x;
  constexpr int n = 400000;
  for (int i = 0; i <= n; ++i) x.push_back(static_cast<real>(low + (double(high) - low) * i / n));
  for (real v = real(1e-30); v < high; v *= real(1.37)) x.insert(x.end(), {v, -v});
  x.resize(x.size() / 16 * 16 + 16, real(0.5));
  return x;
}

using Function = void (*)(const real*, real*, int);

std::vector<real> results(Function f, const std::vector<real>& x) {
  std::vector<real> y(x.size());
  f(x.data(), y.data(), static_cast<int>(x.size()));
  return y;
}
real at(Function f, real x) { return results(f, std::vector<real>(16, x))[0]; }

enum class Error { relative, absolute };

/// The largest error in units of the type's epsilon.
double worst(Function f, double (*exact)(double), real low, real high, Error kind) {
  const std::vector<real> x = arguments(low, high), y = results(f, x);
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double truth = exact(x[i]);
    const double error = std::abs(y[i] - truth) / (kind == Error::relative ? std::abs(truth) : 1);
    if (truth != 0 && !(error <= largest)) largest = error;
  }
  testing::Test::RecordProperty("worst_error_in_eps", std::to_string(largest / epsilon));
  return largest / epsilon;
}

TEST(Vec, ExpIsCloseToTheCLibrary) {
  EXPECT_LE(worst(functions().exp, std::exp, real(-87), real(88), Error::relative), 1);
}
TEST(Vec, TanhIsCloseToTheCLibrary) { EXPECT_LE(worst(functions().tanh, std::tanh, -20, 20, Error::relative), 4); }
TEST(Vec, SigmoidIsCloseToTheCLibrary) {
  const auto exact = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LE(worst(functions().sigmoid, exact, -40, 40, Error::absolute), 2);
}

TEST(Vec, EndsOfTheRange) {
  EXPECT_EQ(at(functions().exp, -infinity), 0);
  EXPECT_EQ(at(functions().exp, real(-1e4)), 0);
  EXPECT_EQ(at(functions().exp, 0), 1);
  EXPECT_EQ(at(functions().tanh, 0), 0);
  for (const real sign : {-1, 1}) {
    EXPECT_NEAR(at(functions().tanh, sign * infinity), sign, 2 * epsilon);
    EXPECT_LE(std::abs(at(functions().tanh, sign * real(30))), 1);
    EXPECT_NEAR(at(functions().sigmoid, sign * infinity), sign > 0, epsilon);
  }
}

TEST(Vec, NanStaysNan) {
  for (Function f : {functions().exp, functions().tanh, functions().sigmoid}) EXPECT_TRUE(std::isnan(at(f, nan)));
}

TEST(Vec, PartialLoadsAndStoresTouchNothingBeyond) {
  const int lanes = functions().lanes;
  for (int n = 0; n <= lanes; ++n) {
    std::vector<real> x(n), y(lanes, -1), all(lanes);  // x ends at n: AddressSanitizer sees a longer read
    for (int i = 0; i < n; ++i) x[i] = static_cast<real>(i + 1);
    functions().copy_some(x.data(), y.data(), n);
    functions().load_some(x.data(), n, 7, all.data());
    for (int i = 0; i < lanes; ++i) {
      EXPECT_EQ(y[i], i < n ? i + 1 : -1) << n << ' ' << i;
      EXPECT_EQ(all[i], i < n ? i + 1 : 7) << n << ' ' << i;
    }
  }
}

TEST(Vec, TransposeSwapsRowsAndColumns) {
  const int lanes = functions().lanes;
  std::vector<real> x(lanes * lanes), y(lanes * lanes);
  for (int i = 0; i < lanes * lanes; ++i) x[i] = static_cast<real>(i);
  functions().transpose(x.data(), y.data());
  for (int i = 0; i < lanes; ++i)
    for (int j = 0; j < lanes; ++j) EXPECT_EQ(y[i * lanes + j], x[j * lanes + i]) << i << ' ' << j;
}

TEST(Vec, SumAndLargestTakeEveryLane) {
  const int lanes = functions().lanes;
  for (int i = 0; i < lanes; ++i) {
    std::vector<real> x(lanes, -2);
    x[i] = 5;
    EXPECT_EQ(functions().sum(x.data()), 5 - 2 * (lanes - 1));
    EXPECT_EQ(functions().largest(x.data()), 5);
  }
}

TEST(Vec, FmaRoundsOnceWhereTheSetFuses) {
  const int lanes = functions().lanes;
  const real almost = 1 - epsilon;  // its square needs twice the digits
  const std::vector<real> a(lanes, almost), c(lanes, -1);
  std::vector<real> y(lanes);
  functions().fma(a.data(), a.data(), c.data(), y.data());
  const real twice = almost * almost,
             expected = isa_name(isa()) == std::string("base") ? twice - 1 : std::fma(almost, almost, real(-1));
  for (real v : y) EXPECT_EQ(v, expected);
}

}  // namespace
}  // namespace bib
