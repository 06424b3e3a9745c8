// SPDX-License-Identifier: Apache-2.0
// Tests of csrc/cuda/ptx/mma.hpp, a part of test_conformance.cu: a warp moves, rounds and multiplies numbers whose
// place in a fragment is told by their value.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "../cpp/check.hpp"
#include "cuda/buffer.hpp"
#include "cuda/ptx/mma.hpp"
#include "cuda/stream.hpp"

namespace conformance {

using namespace isthmus::cuda;
using Words = std::vector<unsigned>;

// What a warp of kernel(words, result) leaves in the n words of `result`.
inline Words words_of(void (*kernel)(const unsigned*, unsigned*), const Words& words, std::size_t n) {
    const Stream stream;
    const DeviceArray<unsigned> from(static_cast<std::int64_t>(words.size())), to(static_cast<std::int64_t>(n));
    Words result(n);
    copy_async(from.data(), words.data(), from.size(), stream);
    zero_async(to.data(), to.size(), stream);
    launch(kernel, dim3(1), dim3(32), 0, stream, from.data(), to.data());
    copy_async(result.data(), to.data(), to.size(), stream);
    stream.synchronize();
    return result;
}

// ---- ldmatrix -------------------------------------------------------------------------------------------------------

// 32 rows of 8 halves, 48 bytes apart; row r of matrix i is row 31 - 8 i - r.
template <bool kTransposed>
__global__ void loads_matrices(const unsigned* x, unsigned* y) {
    ISTHMUS_SHARED(unsigned, rows, 32 * 12);
    const auto lane = static_cast<int>(threadIdx.x);
    for (int i = 0; i < 4; ++i) rows[lane * 12 + i] = x[lane * 4 + i];
    __syncthreads();
    unsigned words[4];
    if constexpr (kTransposed) {
        ldmatrix_x4_trans(rows + (31 - lane) * 12, words);
    } else {
        ldmatrix_x4(rows + (31 - lane) * 12, words);
    }
    for (int i = 0; i < 4; ++i) y[lane * 4 + i] = words[i];
}

inline unsigned half_number(unsigned matrix, unsigned row, unsigned column) {
    return 1000 * (matrix + 1) + 10 * row + column;
}

inline Words matrices() {
    Words words(32 * 4);
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        for (unsigned row = 0; row < 8; ++row) {
            for (unsigned i = 0; i < 4; ++i) {
                words[(31 - 8 * matrix - row) * 4 + i] =
                    half_number(matrix, row, 2 * i) | half_number(matrix, row, 2 * i + 1) << 16;
            }
        }
    }
    return words;
}

TEST(a_lane_has_a_word_of_a_row_of_each_matrix) {
    const Words words = words_of(loads_matrices<false>, matrices(), 128);
    for (unsigned lane = 0; lane < 32; ++lane) {
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned word = words[lane * 4 + i], g = lane / 4, t = lane % 4;
            CHECK((word & 0xffffU) == half_number(i, g, 2 * t) && word >> 16 == half_number(i, g, 2 * t + 1));
        }
    }
}

TEST(a_lane_has_two_halves_of_a_column_of_each_transposed_matrix) {
    const Words words = words_of(loads_matrices<true>, matrices(), 128);
    for (unsigned lane = 0; lane < 32; ++lane) {
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned word = words[lane * 4 + i], g = lane / 4, t = lane % 4;
            CHECK((word & 0xffffU) == half_number(i, 2 * t, g) && word >> 16 == half_number(i, 2 * t + 1, g));
        }
    }
}

// ---- rounding -------------------------------------------------------------------------------------------------------

__global__ void rounds_to_tf32(const unsigned* x, unsigned* y) { y[threadIdx.x] = cvt_rna_tf32(x[threadIdx.x]); }

__global__ void rounds_to_bfloat16(const unsigned* x, unsigned* y) {
    y[threadIdx.x] = cvt_rn_bf16x2(__uint_as_float(x[2 * threadIdx.x]), __uint_as_float(x[2 * threadIdx.x + 1]));
}

TEST(tf32_is_rounded_to_nearest_with_ties_away_from_zero) {
    const Words from = {0x3f800000, 0x3f800fff, 0x3f801000, 0x3f801001, 0x3f802fff, 0x3f803000, 0xbf801000, 0x3fffffff,
                        0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7f7fe000, 0x7f7fffff, 0x42f6e979, 0xc2f6e979};
    const Words to = {0x3f800000, 0x3f800000, 0x3f802000, 0x3f802000, 0x3f802000, 0x3f804000, 0xbf802000, 0x40000000,
                      0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7f7fe000, 0x7f800000, 0x42f6e000, 0xc2f6e000};
    Words padded = from;
    padded.resize(32, 0x7fc00001);  // NaN
    padded[31] = 0x7f800001;
    const Words found = words_of(rounds_to_tf32, padded, 32);
    for (std::size_t i = 0; i < to.size(); ++i) CHECK((found[i] & 0xffffe000U) == to[i]);
    for (std::size_t i = to.size(); i < 32; ++i) CHECK(std::isnan(std::bit_cast<float>(found[i] & 0xffffe000U)));
}

TEST(bfloat16_is_rounded_to_nearest_with_ties_to_even_and_the_first_is_the_lower_half) {
    const Words from = {0x3f800000, 0x40000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0xbf818000,
                        0x7f800000, 0x7f7f7fff, 0x7f7f8000, 0xff800000, 0x80000000, 0x3fffffff, 0x00000000};
    const Words to = {0x40003f80, 0x3f823f80, 0x3f803f81, 0x7f80bf82, 0x7f807f7f, 0x8000ff80, 0x00004000};
    Words padded = from;
    padded.resize(64, 0x7f800001);  // NaN
    const Words found = words_of(rounds_to_bfloat16, padded, 32);
    for (std::size_t i = 0; i < to.size(); ++i) CHECK(found[i] == to[i]);
    for (std::size_t i = to.size(); i < 32; ++i) {
        CHECK(std::isnan(std::bit_cast<float>(found[i] << 16)));
        CHECK(std::isnan(std::bit_cast<float>(found[i] & 0xffff0000U)));
    }
}

// ---- mma ------------------------------------------------------------------------------------------------------------

// x: 10 words a lane, a, b and c. y: the sums.
template <bool kTf32>
__global__ void multiplies(const unsigned* x, unsigned* y) {
    const unsigned* mine = x + 10 * threadIdx.x;
    unsigned a[4];
    float c[4];
    for (int i = 0; i < 4; ++i) a[i] = mine[i];
    for (int i = 0; i < 4; ++i) c[i] = __uint_as_float(mine[6 + i]);
    if constexpr (kTf32) {
        mma_m16n8k8_tf32(a, mine[4], mine[5], c);
    } else {
        mma_m16n8k16_bf16(a, mine[4], mine[5], c);
    }
    for (int i = 0; i < 4; ++i) y[4 * threadIdx.x + static_cast<unsigned>(i)] = __float_as_uint(c[i]);
}

// A product of 16 x k and k x 8 numbers that the format holds, c added.
struct Product {
    explicit Product(bool in_tf32) : tf32(in_tf32), k(in_tf32 ? 8 : 16), a(16 * k), b(8 * k), c(16 * 8) {}

    // d (16, 8), from fragments laid out as mma.hpp says; `low` is set in the 13 bits that tf32 does not read.
    std::vector<float> result(unsigned low = 0) const {
        Words words;
        const auto word = [&](const std::vector<float>& rows, std::size_t row, std::size_t i) {
            const float* const from = rows.data() + row * k;
            if (tf32) return std::bit_cast<unsigned>(from[i]) | low;
            return std::bit_cast<unsigned>(from[2 * i]) >> 16 | std::bit_cast<unsigned>(from[2 * i + 1]);
        };
        for (std::size_t lane = 0; lane < 32; ++lane) {
            const std::size_t g = lane / 4, t = lane % 4;
            for (const std::size_t i : {t, t + 4}) {
                words.push_back(word(a, g, i));
                words.push_back(word(a, g + 8, i));
            }
            for (const std::size_t i : {t, t + 4}) words.push_back(word(b, g, i));
            for (std::size_t i = 0; i < 4; ++i) words.push_back(std::bit_cast<unsigned>(c[at(lane, i)]));
        }
        const Words found = words_of(tf32 ? multiplies<true> : multiplies<false>, words, 128);
        std::vector<float> d(16 * 8);
        for (std::size_t lane = 0; lane < 32; ++lane) {
            for (std::size_t i = 0; i < 4; ++i) d[at(lane, i)] = std::bit_cast<float>(found[4 * lane + i]);
        }
        return d;
    }
    double expected(std::size_t m, std::size_t n, bool absolute = false) const {
        const auto term = [absolute](double value) { return absolute ? std::abs(value) : value; };
        double sum = term(c[m * 8 + n]);
        for (std::size_t i = 0; i < k; ++i) sum += term(static_cast<double>(a[m * k + i]) * b[n * k + i]);
        return sum;
    }
    static std::size_t at(std::size_t lane, std::size_t i) { return (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2; }

    bool tf32;
    std::size_t k;
    std::vector<float> a, b, c;  // (16, k), (8, k), (16, 8)
};

inline Product integers(bool tf32) {
    Product p(tf32);
    for (std::size_t i = 0; i < p.a.size(); ++i) p.a[i] = static_cast<float>(static_cast<int>(i * 37 % 61) - 30);
    for (std::size_t i = 0; i < p.b.size(); ++i) p.b[i] = static_cast<float>(static_cast<int>(i * 29 % 53) - 26);
    for (std::size_t i = 0; i < p.c.size(); ++i) p.c[i] = static_cast<float>(static_cast<int>(i * 31 % 1009) - 500);
    return p;
}

TEST(products_of_integers_are_exact_in_every_place) {
    for (const bool tf32 : {true, false}) {
        const Product p = integers(tf32);
        const std::vector<float> d = p.result();
        for (std::size_t m = 0; m < 16; ++m) {
            for (std::size_t n = 0; n < 8; ++n) CHECK(static_cast<double>(d[m * 8 + n]) == p.expected(m, n));
        }
    }
}

TEST(tf32_does_not_read_the_low_13_bits) {
    const Product p = integers(true);
    CHECK(p.result(0x1fffU) == p.result());
}

// Numbers of full width: products are exact, and sums off by no more than what is cut at most: 24 bits of the largest
// addend, for each of them, and of the sum.
TEST(sums_are_within_what_tensor_cores_cut) {
    for (const bool tf32 : {true, false}) {
        Product p(tf32);
        const unsigned kept = tf32 ? 0xffffe000U : 0xffff0000U;
        unsigned random = 1;
        for (std::vector<float>* numbers : {&p.a, &p.b, &p.c}) {
            for (float& x : *numbers) {
                random = random * 1664525U + 1013904223U;
                x = static_cast<float>(static_cast<int>(random)) * 0x1p-31F;
                x = std::bit_cast<float>(std::bit_cast<unsigned>(x) & kept);
            }
        }
        const std::vector<float> d = p.result();
        for (std::size_t m = 0; m < 16; ++m) {
            for (std::size_t n = 0; n < 8; ++n) {
                CHECK(std::abs(d[m * 8 + n] - p.expected(m, n)) <= 0x1p-22 * p.expected(m, n, true));
            }
        }
    }
}

TEST(what_is_not_finite_is_not_lost) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (const bool tf32 : {true, false}) {
        Product p = integers(tf32);
        p.a[3 * p.k + 5] = kInfinity;
        p.a[9 * p.k + 2] = std::bit_cast<float>(0x7fff0000U);
        for (std::size_t n = 0; n < 8; ++n) p.b[n * p.k + 5] = n == 1 ? 0.0F : n == 2 ? -1.0F : 1.0F;
        const std::vector<float> d = p.result();
        for (std::size_t n = 0; n < 8; ++n) {
            const float infinite = d[3 * 8 + n];
            CHECK(n == 1 ? std::isnan(infinite) : infinite == (n == 2 ? -kInfinity : kInfinity));
            CHECK(std::isnan(d[9 * 8 + n]));
            CHECK(std::isfinite(d[4 * 8 + n]));
        }
    }
}

}  // namespace conformance
