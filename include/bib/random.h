// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number depends on (seed, step, stream, index) alone: not on thread count, batch order in memory or device.
#pragma once
#include <array>
#include <cstdint>

namespace bib {

struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;    // optimiser step
  std::uint32_t stream = 0;  // which dropout, which initialiser
};

/// Four independent 32-bit words for block number `block` of this key.
constexpr std::array<std::uint32_t, 4> philox(RandomKey key, std::uint64_t block) {
  std::array<std::uint32_t, 4> c{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), key.step,
                                 key.stream};
  std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0], p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// The 32-bit word at `index` of the stream.
constexpr std::uint32_t random_word(RandomKey key, std::uint64_t index) { return philox(key, index / 4)[index % 4]; }

/// Uniform in [0, 1) with 24 random bits, so that float and double builds draw the same value.
constexpr float random_uniform(RandomKey key, std::uint64_t index) {
  return static_cast<float>(random_word(key, index) >> 8) * 0x1p-24f;
}

}  // namespace bib
