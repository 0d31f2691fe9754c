// Every op that reads lengths, indices or labels: what is out of range is refused, not followed.
#include <gmock/gmock.h>

#include <cstdlib>
#include <map>
#include <set>

#include "tests/op_test.h"

namespace bib::test {
namespace {

using ::testing::HasSubstr;

template <class Op>
struct ReadsIntegers : std::bool_constant<reads_integers<Op>()> {};

template <class Op>
class Values : public ::testing::Test {
 protected:
  void SetUp() override { setenv("BIB_CAREFUL", "1", 1); }
  void TearDown() override { unsetenv("BIB_CAREFUL"); }
};
using ReadingTypes = TypesOf<Kept<ReadsIntegers, AllOps>::type>::type;
TYPED_TEST_SUITE(Values, ReadingTypes, OpName);

/// The message of what is thrown; empty where nothing is.
template <class Op>
std::string refusal(Context& ctx, const Op& op) {
  try {
    Placed<Op>(ctx, op, Prefill::random).run();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

TYPED_TEST(Values, out_of_range_are_refused) {
  for (const Device device : devices()) {
    Context ctx({.device = device});
    std::map<int, std::set<int>> refused;  // by operand: wrong values that were, for some shape
    for (const auto& shape : Samples<TypeParam>::shapes) {
      Maker maker;
      TypeParam op = Samples<TypeParam>::make(maker, shape);
      ASSERT_EQ(refusal(ctx, op), "") << shape.name;
      for_each_operand(op, [&](auto& v, int k) {
        if constexpr (std::is_same_v<decltype(v.data), const int*>) {
          auto& of_operand = refused[k];
          const int* const before = std::exchange(v.data, nullptr);
          const auto n = static_cast<std::size_t>(v.size());
          for (const int wrong : {-2, 1'000'000'000}) {
            const std::vector<int> values(n, wrong);
            v.data = values.data();
            const std::string why = refusal(ctx, op);
            if (why.empty()) continue;
            of_operand.insert(wrong);
            EXPECT_THAT(why, HasSubstr(TypeParam::name));
            EXPECT_THAT(why, HasSubstr(std::to_string(wrong)));
          }
          v.data = before;
        }
      });
    }
    for (const auto& [k, wrong] : refused) EXPECT_EQ(wrong.size(), 2) << "operand " << k << " was not refused";
  }
}

TEST(Values, the_message_says_which_and_what_was_expected) {
  Context ctx;
  const std::vector<real> table(6);
  std::vector<real> y(12);
  const std::vector<int> ids{0, 1, 2, -1, 3, 0};
  const EmbeddingForward op{.ids = {.data = ids.data(), .shape = {2, 3}},
                            .table = {.data = table.data(), .shape = {3, 2}},
                            .y = {.data = y.data(), .shape = {2, 3, 2}}};
  EXPECT_THAT([&] { run(ctx, op); },
              ::testing::ThrowsMessage<std::invalid_argument>("embedding_forward: ids[1,1] is 3, expected -1..2"));
}

}  // namespace
}  // namespace bib::test
