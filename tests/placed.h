// An op with every operand copied to a context's device, each between guard words, ready to run.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/harness.h"

namespace bib::test {

/// What outputs hold before the run. Elements that are updated in place keep what make() put there; elements that are
/// added to start from zero where `nan` is asked for.
enum class Prefill { random, nan, zero, as_made };

/// What an output held after a run: exact, as double holds every float and int.
struct Output {
  int operand = 0;
  bool integer = false;
  std::vector<double> values;
};
using Outputs = std::vector<Output>;

template <class T>
T prefill_value(Prefill prefill, Writes writes, T made, int operand, std::int64_t i) {
  if (prefill == Prefill::as_made || writes == Writes::update) return made;
  if (prefill == Prefill::zero || (prefill == Prefill::nan && writes == Writes::add)) return T{0};
  if (prefill == Prefill::nan && !std::is_integral_v<T>) return std::numeric_limits<T>::quiet_NaN();
  const unsigned stream = static_cast<unsigned>(operand) + (prefill == Prefill::nan ? 2000 : 1000);
  return Maker::prefill<T>({.seed = test_seed(), .stream = stream}, i);
}

/// By how many bytes an operand begins behind where memory is aligned: of its number, and of its data on the host.
using Shift = std::function<std::size_t(int operand, const void* data)>;

template <class Op>
class Placed {
 public:
  Placed(Context& ctx, const Op& host, Prefill prefill, const Shift& shift = {}) : ctx_(ctx), host_(host), op_(host) {
    for_each_operand(op_, [&](auto& v, int operand) {
      using T = typename std::remove_reference_t<decltype(v)>::value_type;
      std::vector<T> values(v.data, v.data + v.size());
      if constexpr (std::remove_reference_t<decltype(v)>::is_output) {
        for (std::int64_t i = 0; i < v.size(); ++i)
          values[i] = prefill_value(prefill, writes(host_, v.data, i), values[i], operand, i);
      }
      const auto bytes = std::as_bytes(std::span(values));
      slots_.push_back(
          {.memory = std::make_unique<Guarded>(ctx_, bytes.size(), shift ? shift(operand, v.data) : 0), .before = {}});
      if (!std::remove_reference_t<decltype(v)>::is_output) slots_.back().before.assign(bytes.begin(), bytes.end());
      v.data = static_cast<T*>(slots_.back().memory->data());
      v.device = ctx_.device();
      copy_bytes(ctx_, slots_.back().memory->data(), v.device, bytes.data(), Device::cpu, bytes.size());
      ctx_.wait();
    });
  }

  void run() { bib::run(ctx_, op_); }
  const Op& op() const { return op_; }

  Outputs outputs() {
    Outputs all;
    for_each_operand(op_, [&](auto& v, int operand) {
      using V = std::remove_reference_t<decltype(v)>;
      if constexpr (V::is_output) {
        const auto values = download(ctx_, v);
        all.push_back(
            {operand, std::is_integral_v<typename V::value_type>, std::vector<double>(values.begin(), values.end())});
      }
    });
    return all;
  }

  /// Empty, or what the run did beyond its outputs: a write outside an operand, or into an input.
  std::string trespass() {
    std::string found;
    auto slot = slots_.begin();
    for_each_operand(op_, [&](auto& v, int operand) {
      const std::string name = "operand " + std::to_string(operand) + "; ";
      if (!slot->memory->intact()) found += "wrote outside " + name;
      std::vector<std::byte> now(slot->before.size());
      copy_bytes(ctx_, now.data(), Device::cpu, v.data, ctx_.device(), now.size());
      ctx_.wait();
      if (now != slot->before) found += "wrote into input " + name;
      ++slot;
    });
    return found;
  }

 private:
  struct Slot {
    std::unique_ptr<Guarded> memory;
    std::vector<std::byte> before;  // of an input, which no run may change
  };

  Context& ctx_;
  Op host_, op_;
  std::vector<Slot> slots_;
};

}  // namespace bib::test
