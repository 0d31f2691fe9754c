// Placement, initialisation, and the round trip of parameters through the model file.
#include "models/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "models/model_file.h"

namespace bib {
namespace {

struct Small {
  Parameters parameters;
  Param<3> w = parameters.add<3>("lstm.0.w_x", {2, 8, 5}, Init::xavier(5, 8));
  Table words = parameters.add_table("embed.word", 7, 3, Init::uniform(0.5f));
  Param<2> b = parameters.add<2>("lstm.0.b", {2, 8}, Init::lstm_bias());
  Param<1> c = parameters.add<1>("constant", {3}, Init::constant(-2));
};

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 64 == 0; }

TEST(Parameters, DenseOnesLieInOneBufferAndTablesBehind) {
  Context ctx({.threads = 1});
  Small small;
  Parameters& p = small.parameters;
  EXPECT_FALSE(small.w.value());
  p.allocate(ctx, 1);
  EXPECT_EQ(small.w.value().shape, (std::array{2, 8, 5}));
  EXPECT_EQ(small.words.value().shape, (std::array{7, 3}));
  const auto inside = [&](const real* x, View<real, 1> v) { return x >= v.data && x < v.data + v.size(); };
  for (const ParamInfo& info : p.infos()) {
    EXPECT_TRUE(aligned(info.value)) << info.name;
    EXPECT_EQ(inside(info.value, p.values()), !info.is_table) << info.name;
    EXPECT_TRUE(inside(info.value, p.everything())) << info.name;
    EXPECT_EQ(info.grad != nullptr, !info.is_table) << info.name;
  }
  EXPECT_EQ(p.values().size(), p.grads().size());
  EXPECT_EQ(small.w.grad().data - p.grads().data, small.w.value().data - p.values().data);
  EXPECT_EQ(p.count(), 80 + 21 + 16 + 3);
  EXPECT_EQ(p.table(small.words.index()).data, small.words.value().data);
  for (std::int64_t i = 0; i < p.grads().size(); ++i) EXPECT_EQ(p.grads()[i], 0);
}

TEST(Parameters, HandlesSurviveAMove) {
  Context ctx({.threads = 1});
  Small small;
  Parameters moved = std::move(small.parameters);
  moved.allocate(ctx, 1);
  EXPECT_EQ(small.c.value()[0], -2);
  EXPECT_EQ(small.b.value().data, moved.find("lstm.0.b")->value);
}

TEST(Parameters, TakesOverWhatFillsTheBeginningOfEachAxis) {
  Context ctx({.threads = 1});
  const auto make = [&](int n, std::uint64_t seed) {
    Parameters p;
    p.add<3>("a", {2, n, n + 1}, Init::uniform(1));
    p.add_table("rows", n, 2, Init::uniform(1));
    p.allocate(ctx, seed);
    return p;
  };
  const Parameters small = make(2, 1), fresh = make(4, 2);
  Parameters grown = make(4, 2);
  grown.take_over(ctx, small);
  const std::vector<real> a = grown.get(ctx, "a"), from = small.get(ctx, "a"), other = fresh.get(ctx, "a");
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 4; ++j)
      for (std::size_t k = 0; k < 5; ++k) {
        const std::size_t at = (i * 4 + j) * 5 + k;
        EXPECT_EQ(a[at], j < 2 && k < 3 ? from[(i * 2 + j) * 3 + k] : other[at]) << i << j << k;
      }
  const std::vector<real> rows = grown.get(ctx, "rows"), first = small.get(ctx, "rows"), rest = fresh.get(ctx, "rows");
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], i < first.size() ? first[i] : rest[i]) << i;
  Parameters smaller = make(1, 1);
  EXPECT_THROW(smaller.take_over(ctx, small), std::invalid_argument);
  EXPECT_THROW(Small().parameters.take_over(ctx, small), std::invalid_argument) << "of other names";
}

TEST(Parameters, InitialValuesFollowTheirRule) {
  Context ctx({.threads = 1});
  Small small;
  small.parameters.allocate(ctx, 3);
  const float bound = std::sqrt(6.0f / 13);
  double sum = 0, largest = 0;
  const auto w = small.w.value().reshaped<1>({80});
  for (int i = 0; i < 80; ++i) {
    EXPECT_LT(std::abs(w[i]), bound);
    largest = std::max<double>(largest, std::abs(w[i]));
    sum += w[i];
  }
  EXPECT_GT(largest, 0.9 * bound);
  EXPECT_LT(std::abs(sum / 80), 0.25 * bound);
  for (int d = 0; d < 2; ++d) {
    for (int j = 0; j < 8; ++j) EXPECT_EQ(small.b.value()[d][j], j == 2 || j == 3 ? 1 : 0);
  }
}

TEST(Parameters, InitialValuesDependOnSeedAndNameAlone) {
  Context ctx({.threads = 1});
  Parameters one, two, three;
  const auto a1 = one.add<1>("a", {64}, Init::uniform(1));
  const auto x2 = two.add<1>("x", {64}, Init::uniform(1));
  const auto a2 = two.add<1>("a", {64}, Init::uniform(1));
  const auto a3 = three.add<1>("a", {64}, Init::uniform(1));
  one.allocate(ctx, 5), two.allocate(ctx, 5), three.allocate(ctx, 6);
  int same_name = 0, other_name = 0, other_seed = 0;
  for (int i = 0; i < 64; ++i) {
    same_name += a1.value()[i] == a2.value()[i];
    other_name += x2.value()[i] == a2.value()[i];
    other_seed += a3.value()[i] == a1.value()[i];
  }
  EXPECT_EQ(same_name, 64);
  EXPECT_LT(other_name, 2);
  EXPECT_LT(other_seed, 2);
}

TEST(Parameters, ASavedModelOpensWithTheSameValuesAndWithoutGradients) {
  Context ctx({.threads = 1});
  const std::string path = testing::TempDir() + "parameters_round_trip.bib";
  Small trained;
  trained.parameters.allocate(ctx, 11);
  ModelFile out;
  trained.parameters.save(ctx, out);
  write_model(path, out);

  Small opened;
  opened.parameters.open(ctx, std::make_shared<const ModelFile>(read_model(path)));
  for (const ParamInfo& info : trained.parameters.infos()) {
    const auto before = trained.parameters.get(ctx, info.name);
    const auto after = opened.parameters.get(ctx, info.name);
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(static_cast<float>(before[i]), after[i]);
  }
  EXPECT_FALSE(opened.w.grad());
  EXPECT_THROW(opened.parameters.table(0), std::invalid_argument);

  Small resumed;  // training goes on from a file
  resumed.parameters.allocate(ctx, 12);
  resumed.parameters.load(ctx, read_model(path));
  EXPECT_EQ(resumed.words.value()[6][2], static_cast<float>(trained.words.value()[6][2]));
  EXPECT_TRUE(resumed.w.grad());
}

TEST(Parameters, AFileOfAnotherShapeIsRefusedByName) {
  Context ctx({.threads = 1});
  Parameters narrow, wide, other;
  narrow.add<2>("project.w", {4, 3});
  wide.add<2>("project.w", {4, 5});
  other.add<2>("elsewhere", {4, 3});
  narrow.allocate(ctx, 1);
  auto file = std::make_shared<ModelFile>();
  file->path = "m.bib";
  narrow.save(ctx, *file);
  try {
    wide.open(ctx, file);
    FAIL() << "a [4,3] tensor was taken for [4,5]";
  } catch (const ModelError& error) {
    EXPECT_STREQ(error.what(), "model m.bib: tensor 'project.w' is F32[4,3], the configuration asks for F32[4,5]");
  }
  EXPECT_THROW(other.open(ctx, file), ModelError);
}

TEST(Parameters, MisuseIsNamed) {
  Context ctx({.threads = 1});
  Small small;
  EXPECT_THROW(small.parameters.add<1>("constant", {3}), std::invalid_argument);
  EXPECT_THROW(small.parameters.add<1>("empty", {0}), std::invalid_argument);
  EXPECT_THROW(small.parameters.set(ctx, "constant", {}), std::invalid_argument);
  small.parameters.allocate(ctx, 1);
  EXPECT_THROW(small.parameters.allocate(ctx, 1), std::invalid_argument);
  EXPECT_THROW(small.parameters.add<1>("late", {3}), std::invalid_argument);
  const std::vector<real> two{1, 2};
  small.parameters.set(ctx, "constant", two, 1);
  EXPECT_EQ(small.c.value()[2], 2);
  EXPECT_THROW(small.parameters.set(ctx, "constant", two, 2), std::invalid_argument);
}

}  // namespace
}  // namespace bib
