#include "bench/gpu/answers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

namespace bib::bench {
namespace {

static_assert(sizeof(real) == sizeof(std::uint32_t));

void set_bits(Context& ctx, void* data, std::size_t bytes) {
  static const std::vector<unsigned char> some(1 << 16, 0xFF);
  std::size_t done = std::min(some.size(), bytes);
  copy_bytes(ctx, data, ctx.device(), some.data(), Device::cpu, done);
  for (std::size_t more = 0; done < bytes; done += more) {  // from what is set already: the host's bytes come slowly
    more = std::min(done, bytes - done);
    copy_bytes(ctx, static_cast<char*>(data) + done, ctx.device(), data, ctx.device(), more);
  }
}

void fill(Context& ctx, void* data, std::size_t bytes, Before before) {
  if (before == Before::bits)
    set_bits(ctx, data, bytes);
  else
    zero_bytes(ctx, data, bytes);
}

/// An op that reads what an earlier kernel has yet to write finds there what the run before left: the right values.
void fill_scratch(Context& ctx, Before before) {
  ctx.wait();
  ctx.arena().reset();
  const std::size_t words = ctx.arena().bytes_reserved() / sizeof(int);
  if (words == 0) return;
  const ArenaScope scope(ctx.arena());
  const View<int, 2> all = ctx.arena().make<int, 2>({static_cast<int>(words / 16), 16});
  fill(ctx, all.data, sizeof(int) * static_cast<std::size_t>(all.size()), before);
}

std::string place(const Answer& a, std::size_t i) {
  std::string text;
  for (std::size_t axis = a.shape.size(); axis-- > 0;) {
    const auto extent = static_cast<std::size_t>(a.shape[axis]);
    text.insert(0, "[" + std::to_string(i % extent) + "]");
    i /= extent;
  }
  return a.name + text;
}

std::string value(const Answer& a, std::size_t i) {
  if (a.integers) return std::to_string(std::bit_cast<int>(a.bits[i]));
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(std::bit_cast<float>(a.bits[i])));
  return text;
}

double number(const Answer& a, std::size_t i) { return std::bit_cast<float>(a.bits[i]); }

double root_mean_square(const Answer& a) {
  double sum = 0;
  for (std::size_t i = 0; i < a.bits.size(); ++i) sum += number(a, i) * number(a, i);
  return std::sqrt(sum / static_cast<double>(std::max<std::size_t>(1, a.bits.size())));
}

[[noreturn]] void differs(const Answer& a, const Answer& b, std::size_t i, const std::string& whose,
                          std::size_t count) {
  throw WrongAnswer(place(a, i) + " is " + value(a, i) + ", and " + value(b, i) + " " + whose + " (" +
                    std::to_string(count) + " of " + std::to_string(a.bits.size()) + " values differ)");
}

}  // namespace

Answers answers_of(Context& ctx, const Operands& operands, Run run, int times, Before before, bool only_first) {
  using Kind = Output::Kind;
  for (const Output& o : operands.outputs())
    fill(ctx, o.data, o.bytes, o.kind == Kind::updated || o.kind == Kind::state ? Before::zeros : before);
  fill_scratch(ctx, before);
  for (int i = 0; i < times; ++i) run(ctx);
  Answers answers;
  for (const Output& o : operands.outputs()) {
    if (o.kind == Kind::state || o.kind == Kind::between || (only_first && !answers.empty())) continue;
    std::vector<std::uint32_t> bits(o.bytes / sizeof(std::uint32_t));
    copy_bytes(ctx, bits.data(), Device::cpu, o.data, ctx.device(), o.bytes);
    answers.push_back({o.name, o.shape, o.integers, std::move(bits)});
  }
  ctx.wait();
  return answers;
}

void expect_numbers(const Answers& got) {
  constexpr std::uint32_t exponent = 0x7F800000;
  for (const Answer& a : got) {
    if (a.integers) continue;
    const auto at = std::ranges::find_if(a.bits, [](std::uint32_t x) { return (x & exponent) == exponent; });
    if (at == a.bits.end()) continue;
    const auto i = static_cast<std::size_t>(at - a.bits.begin());
    throw WrongAnswer(place(a, i) + " is " + value(a, i));
  }
}

void expect_same(const Answers& got, const Answers& other, const std::string& whose) {
  for (std::size_t k = 0; k < other.size(); ++k) {
    const Answer &a = got[k], &b = other[k];
    if (a.bits == b.bits) continue;
    std::size_t first = 0, count = 0;
    for (std::size_t i = a.bits.size(); i-- > 0;)
      if (a.bits[i] != b.bits[i]) first = i, ++count;
    differs(a, b, first, whose, count);
  }
}

double expect_close(const Answers& got, const Answers& other, const Tolerance& tolerance, const std::string& whose) {
  double most = 0;
  for (std::size_t k = 0; k < other.size(); ++k) {
    const Answer &a = got[k], &b = other[k];
    if (a.integers || a.bits == b.bits) continue;
    const bool gradient = a.name.starts_with("d_");
    const double allowed = gradient ? tolerance.backward : tolerance.forward,
                 scale = std::max(root_mean_square(b), tolerance.magnitude);
    std::size_t worst = 0, count = 0;
    double here = 0, squares = 0;
    for (std::size_t i = 0; i < a.bits.size(); ++i) {
      const double x = number(a, i), y = number(b, i);
      if (x == y) continue;
      const double share = std::abs(x - y) / (allowed * (std::abs(y) + scale));
      squares += (x - y) * (x - y);
      if (!(share <= 1)) ++count;
      if (share > here || std::isnan(share)) here = share, worst = i;
    }
    if (gradient) here = std::sqrt(squares / static_cast<double>(a.bits.size())) / (allowed * scale);
    const std::string times = std::to_string(here) + " times the difference that is allowed";
    if (!(here <= 1)) differs(a, b, worst, whose + (gradient ? ", all in all " : ", ") + times, count);
    most = std::max(most, here);
  }
  return most;
}

}  // namespace bib::bench
