// SPDX-License-Identifier: Apache-2.0
// Philox against its published vectors, the layout of the counters, and the numbers made from the words.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <set>
#include <tuple>

#include "check.hpp"
#include "math/philox.hpp"
#include "ulp.hpp"

using namespace isthmus;
using Block = math::PhiloxBlock<std::uint32_t>;

namespace {

std::array<std::uint32_t, 4> words(const Block& block) {
    return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

using Words = std::array<std::uint32_t, 4>;

}  // namespace

// The file kat_vectors of Random123, the authors' own library.
TEST(philox_gives_the_published_words) {
    CHECK(words(math::philox(Block{{0, 0, 0, 0}}, 0, 0)) == (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    const std::uint32_t ones = 0xffffffffU;
    CHECK(words(math::philox(Block{{ones, ones, ones, ones}}, ones, ones)) ==
          (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    CHECK(words(math::philox(Block{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0)) ==
          (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(a_seed_is_the_key_lower_half_first) {
    const Block counter{{1, 2, 3, 4}};
    CHECK(words(math::philox(counter, 0x299f31d0a4093822U)) == words(math::philox(counter, 0xa4093822, 0x299f31d0)));
}

// Saved models and resumed runs depend on these: none may change.
TEST(counters_are_laid_out_as_stated) {
    using math::Purpose;
    CHECK(words(math::counter(Purpose::weights, 0x0123456789abcdefU, 7)) ==
          (Words{0x89abcdef, 0x01234567, 0x00000, 7}));
    CHECK(words(math::counter(Purpose::permutation, 5, 9)) == (Words{5, 0, 0x10000, 9}));
    CHECK(words(math::counter(Purpose::split, 5, 0)) == (Words{5, 0, 0x30000, 0}));
    CHECK(words(math::counter(Purpose::sample, 5, 0)) == (Words{5, 0, 0x40000, 0}));
    CHECK(words(math::noise_counter(std::uint32_t{196}, 0xabcd12345678U, 3)) == (Words{196, 0x12345678, 0x2abcd, 3}));
}

TEST(no_two_counters_meet) {
    std::set<Words> seen;
    std::size_t made = 0;
    const auto add = [&](const Block& counter) {
        seen.insert(words(counter));
        ++made;
    };
    for (const std::uint64_t index : {0U, 1U, 2U, 0xffffffffU}) {
        for (const std::uint32_t stream : {0U, 1U, 0xffffffffU}) {
            for (const auto purpose :
                 {math::Purpose::weights, math::Purpose::permutation, math::Purpose::split, math::Purpose::sample}) {
                add(math::counter(purpose, index, stream));
                add(math::counter(purpose, index + (std::uint64_t{1} << 32), stream));
            }
            for (const std::uint64_t row : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32}) {
                add(math::noise_counter(static_cast<std::uint32_t>(index), row, stream));
            }
        }
    }
    CHECK(seen.size() == made);
}

TEST(uniforms_are_the_upper_24_bits) {
    const auto u = math::uniforms<float>(Block{{0, 0xffffffffU, 0x80000000U, 0x000001ffU}});
    CHECK(u.value[0] == 0.0F);
    CHECK(u.value[1] == 1.0F - 0x1p-24F);
    CHECK(u.value[2] == 0.5F);
    CHECK(u.value[3] == 0x1p-24F);
}

// All 2^24 angles. Sine and cosine keep their relative accuracy at the zeros, since the reduction is exact.
TEST(sine_and_cosine_over_every_angle) {
    double worst = 0.0;
    for (std::uint32_t i = 0; i < (1U << 24); ++i) {
        const float u = static_cast<float>(i) * 0x1p-24F;
        float sine = 0.0F;
        float cosine = 0.0F;
        math::sincos_2pi(u, sine, cosine);
        // The reference reduces too: pi itself is no double.
        const std::uint32_t quadrant = (i + (1U << 21)) >> 22;
        const double rest = 2.0 * std::numbers::pi * (static_cast<double>(i) * 0x1p-24 - quadrant * 0.25);
        const double s = std::sin(rest);
        const double c = std::cos(rest);
        const std::array<std::array<double, 2>, 4> turned = {{{s, c}, {c, -s}, {-s, -c}, {-c, s}}};
        worst = std::max(worst, ulp::error(sine, turned[quadrant % 4][0]));
        worst = std::max(worst, ulp::error(cosine, turned[quadrant % 4][1]));
    }
    std::printf("sine and cosine: %.4f ULP\n", worst);
    CHECK(worst <= 1.2);
}

TEST(gaussians_are_box_and_muller_of_word_pairs) {
    double worst = 0.0;
    for (std::uint32_t i = 0; i < 200000; ++i) {
        Block random = math::philox(math::counter(math::Purpose::sample, i, 0), 1);
        if (i < 4) random.word[2 * (i % 2)] = i < 2 ? 0 : 0xffffffffU;  // the ends of the radius
        const auto g = math::gaussians<float>(random);
        for (int pair = 0; pair < 4; pair += 2) {
            const double u = ((random.word[pair] >> 8) + 1) * 0x1p-24;
            const double angle = 2.0 * std::numbers::pi * ((random.word[pair + 1] >> 8) * 0x1p-24);
            const double radius = std::sqrt(-2.0 * std::log(u));
            const double cosine = radius * std::cos(angle);
            const double sine = radius * std::sin(angle);
            if (std::fabs(cosine) > 1e-6) worst = std::max(worst, ulp::error(g.value[pair], cosine));
            if (std::fabs(sine) > 1e-6) worst = std::max(worst, ulp::error(g.value[pair + 1], sine));
        }
    }
    std::printf("gaussians: %.4f ULP\n", worst);
    CHECK(worst <= 2.5);
    const auto farthest = math::gaussians<float>(Block{{0, 0, 0xffffffffU, 0}});
    CHECK(farthest.value[0] > 5.768F && farthest.value[0] < 5.769F && farthest.value[1] == 0.0F);
    CHECK(farthest.value[2] == 0.0F && farthest.value[3] == 0.0F);
}

// Moments within five standard deviations of what independent numbers give.
TEST(numbers_have_the_moments_of_their_distribution) {
    constexpr int kBlocks = 250000;
    constexpr double kCount = 4.0 * kBlocks;
    double uniform[2] = {};
    double gaussian[4] = {};
    double products = 0.0;  // of neighbours in a block
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
        const Block random = math::philox(math::noise_counter(i % 196U, i / 196U, 0), 42);
        const auto u = math::uniforms<float>(random);
        const auto g = math::gaussians<float>(random);
        for (int j = 0; j < 4; ++j) {
            const double x = static_cast<double>(u.value[j]) - 0.5;
            uniform[0] += x;
            uniform[1] += x * x;
            const double y = static_cast<double>(g.value[j]);
            gaussian[0] += y;
            gaussian[1] += y * y;
            gaussian[2] += y * y * y;
            gaussian[3] += y * y * y * y;
            products += y * static_cast<double>(g.value[(j + 1) % 4]);
        }
    }
    const auto near = [&](double sum, double mean, double variance) {
        return std::fabs(sum / kCount - mean) < 5.0 * std::sqrt(variance / kCount);
    };
    CHECK(near(uniform[0], 0.0, 1.0 / 12.0));
    CHECK(near(uniform[1], 1.0 / 12.0, 1.0 / 180.0));
    CHECK(near(gaussian[0], 0.0, 1.0));
    CHECK(near(gaussian[1], 1.0, 2.0));
    CHECK(near(gaussian[2], 0.0, 15.0));
    CHECK(near(gaussian[3], 3.0, 96.0));
    CHECK(near(products, 0.0, 1.0));
}
