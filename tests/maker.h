// Maker: seeded operands on the host for Samples<Op>::make and for tests written by hand.
//   m.uniform({T, B, I})             reals in [-1, 1)          m.uniform(f.x.shape, 0, 1)   of another view's shape
//   m.ints({T, B}, 0, K - 1)         ints, both ends included  m.lengths(B, T)              0..T, both ends occur
//   m.output({T, B, H})              an output, random until written;  m.output<int>({T, B})
//   m.zeros({K, K})                  m.values<int>({3}, {1, 0, 2})     m.unique(U, V)        U ascending of 0..V-1
//   m.run(op)                        on the CPU: what backward needs of forward
// Values depend on the seed and on the order of the calls alone, and are the same in the float and the double build.
// The memory lives as long as the Maker.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "bib/ops.h"
#include "bib/random.h"
#include "tests/guarded.h"

namespace bib::test {

/// BIB_SEED, or 1.
inline std::uint64_t test_seed() {
  const char* text = std::getenv("BIB_SEED");
  return text && *text ? std::strtoull(text, nullptr, 10) : 1;
}

class Maker {
 public:
  /// whole: uniform() draws small integers, so that sums of products are exact in any order (Samples::exact).
  explicit Maker(std::uint64_t seed = test_seed(), bool whole = false) : seed_(seed), whole_(whole) {}

  Context& cpu() { return cpu_; }

  template <class Op>
  const Op& run(const Op& op) {
    bib::run(cpu_, op);
    return op;
  }

  template <class T, std::size_t R>
  View<T, int(R)> allocate(std::array<int, R> shape) {
    View<T, int(R)> v{.data = nullptr, .shape = shape};
    memory_.push_back(std::make_unique<Guarded>(cpu_, sizeof(T) * static_cast<std::size_t>(v.size())));
    v.data = static_cast<T*>(memory_.back()->data());
    return v;
  }

  template <std::size_t R>
  View<real, int(R)> uniform(std::array<int, R> shape, float low = -1, float high = 1) {
    if (whole_) return whole(shape, -3, 3);
    return generate<real>(shape, [&](RandomKey key, std::int64_t i) { return low + (high - low) * draw(key, i); });
  }
  template <std::size_t R>
  View<real, int(R)> uniform(const int (&shape)[R], float low = -1, float high = 1) {
    return uniform(std::to_array(shape), low, high);
  }

  /// Reals that are integers, both ends included.
  template <std::size_t R>
  View<real, int(R)> whole(std::array<int, R> shape, int low, int high) {
    return generate<real>(shape, [&](RandomKey key, std::int64_t i) { return integer(key, i, low, high); });
  }

  template <std::size_t R>
  View<int, int(R)> ints(const int (&shape)[R], int low, int high) {
    return generate<int>(std::to_array(shape),
                         [&](RandomKey key, std::int64_t i) { return integer(key, i, low, high); });
  }

  template <class T = real, std::size_t R>
  View<T, int(R)> output(std::array<int, R> shape) {
    return generate<T>(shape, [](RandomKey key, std::int64_t i) { return prefill<T>(key, i); });
  }
  template <class T = real, std::size_t R>
  View<T, int(R)> output(const int (&shape)[R]) {
    return output<T>(std::to_array(shape));
  }

  template <class T = real, std::size_t R>
  View<T, int(R)> zeros(std::array<int, R> shape) {
    return generate<T>(shape, [](RandomKey, std::int64_t) { return T{0}; });
  }
  template <class T = real, std::size_t R>
  View<T, int(R)> zeros(const int (&shape)[R]) {
    return zeros<T>(std::to_array(shape));
  }

  template <class T = real, std::size_t R>
  View<T, int(R)> values(const int (&shape)[R], std::initializer_list<T> list) {
    const std::span<const T> from(list.begin(), list.size());
    return values(std::to_array(shape), from);
  }
  template <class T, std::size_t R>
  View<T, int(R)> values(std::array<int, R> shape, std::span<const T> from) {
    View<T, int(R)> v = allocate<T>(shape);
    expect(static_cast<std::int64_t>(from.size()) == v.size(), "Maker::values: list and shape differ");
    std::copy(from.begin(), from.end(), v.data);
    return v;
  }

  /// Random in low..T; the first is T and the last is `low`, so that both ends are always tested.
  View<int, 1> lengths(int B, int T, int low = 0) {
    View<int, 1> v = ints({B}, low, T);
    if (B > 1) v[B - 1] = low;
    if (B > 0) v[0] = T;
    return v;
  }

  /// n different numbers of 0..below-1, ascending (selection sampling, Knuth vol. 2, algorithm S).
  View<int, 1> unique(int n, int below) {
    expect(n <= below, "Maker::unique: more asked for than there are");
    View<int, 1> v = allocate<int>(std::array{n});
    const RandomKey key = next_key();
    for (int i = 0, taken = 0; taken < n; ++i) {
      if (random_word(key, i) % static_cast<unsigned>(below - i) < static_cast<unsigned>(n - taken)) v[taken++] = i;
    }
    return v;
  }

  /// What an output holds before an op has run.
  template <class T>
  static T prefill(RandomKey key, std::int64_t i) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(random_word(key, i) >> 1);
    return static_cast<T>(2 * random_uniform(key, i) - 1);
  }

 private:
  RandomKey next_key() { return {.seed = seed_, .stream = ++stream_}; }
  static float draw(RandomKey key, std::int64_t i) { return random_uniform(key, static_cast<std::uint64_t>(i)); }
  static int integer(RandomKey key, std::int64_t i, int low, int high) {
    const auto span = static_cast<unsigned>(high - low + 1);
    return low + static_cast<int>(random_word(key, static_cast<std::uint64_t>(i)) % span);
  }

  template <class T, std::size_t R, class F>
  View<T, int(R)> generate(std::array<int, R> shape, F&& value) {
    View<T, int(R)> v = allocate<T>(shape);
    const RandomKey key = next_key();
    for (std::int64_t i = 0; i < v.size(); ++i) v.data[i] = static_cast<T>(value(key, i));
    return v;
  }

  Context cpu_{{.threads = 1}};
  std::vector<std::unique_ptr<Guarded>> memory_;
  std::uint64_t seed_;
  bool whole_;
  std::uint32_t stream_ = 0;
};

}  // namespace bib::test
