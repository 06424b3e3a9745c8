// SPDX-License-Identifier: Apache-2.0
// Tensor cores: the lanes of a warp leave their fragments, the last one computes for all.
#include "cuda_emulator/tensor_cores.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "block.hpp"
#include "shared_memory.hpp"

namespace cuda_emulator {

namespace {

constexpr unsigned kWholeWarp = 0xffffffffU;

// What a lane brings to a collective lies on its stack; null for a lane that has ended.
template <class T>
T* brought(const Gathering& all, unsigned lane) {
    return (all.arrived >> lane & 1U) != 0 ? reinterpret_cast<T*>(all.value[lane]) : nullptr;
}

// To be done once, by whom the first lane's result is asked for.
bool is_first(const Gathering& all, unsigned lane) { return static_cast<int>(lane) == std::countr_zero(all.arrived); }

template <class T>
void meet(const char* kind, Gathering::Result result, T& mine, Site where) {
    collect(kind, result, kWholeWarp, reinterpret_cast<std::uintptr_t>(&mine), 0, where);
}

// ---- ldmatrix -------------------------------------------------------------------------------------------------------

template <bool transposed>
std::uint64_t rows_exchanged(const Gathering& all, unsigned lane) {
    MatrixRow& mine = *brought<MatrixRow>(all, lane);
    const unsigned g = lane / 4;
    const unsigned t = lane % 4;
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const auto word = [&](unsigned row, unsigned i) {
            const MatrixRow* const from = brought<MatrixRow>(all, 8 * matrix + row);
            return from != nullptr ? from->row[i] : ~0U;
        };
        const auto half = [&](unsigned row) { return word(row, g / 2) >> (g % 2 * 16) & 0xffffU; };
        mine.words[matrix] = transposed ? half(2 * t) | half(2 * t + 1) << 16 : word(g, t);
    }
    return 0;
}

// ---- mma ------------------------------------------------------------------------------------------------------------

struct Fragments {
    unsigned a[4];
    unsigned b[2];
    float c[4];
};

float as_float(unsigned bits) { return std::bit_cast<float>(bits); }

double power_of_two(std::int64_t exponent) {
    return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// Rounded towards zero to the 24 bits of a float.
float cut_to_float(double value) {
    constexpr std::uint64_t kBelow = (std::uint64_t{1} << 29) - 1;
    return static_cast<float>(std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) & ~kBelow));
}

// sums[n] + the products of one step of the hardware, for a row of outputs; loops over n are vectors.
template <int kStep>
void add_products(float (&sums)[8], const double (&products)[kStep][8]) {
    double largest[8];
    double plain[8];
    for (int n = 0; n < 8; ++n) {
        plain[n] = static_cast<double>(sums[n]);
        largest[n] = std::abs(plain[n]);
    }
    for (int j = 0; j < kStep; ++j) {
        for (int n = 0; n < 8; ++n) {
            const double size = std::abs(products[j][n]);
            plain[n] += products[j][n];
            largest[n] = size > largest[n] ? size : largest[n];
        }
    }
    double up[8];
    double down[8];
    double totals[8];
    for (int n = 0; n < 8; ++n) {
        // A sum of no number is given below; one of zeros needs a grid, too.
        const auto exponent = static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(largest[n]) >> 52) - 1023;
        const std::int64_t lowest = std::clamp<std::int64_t>(exponent, -300, 300) - 24;  // 25 bits
        up[n] = power_of_two(-lowest);
        down[n] = power_of_two(lowest);
        totals[n] = std::trunc(static_cast<double>(sums[n]) * up[n]) * down[n];
    }
    for (int j = 0; j < kStep; ++j) {
        for (int n = 0; n < 8; ++n) totals[n] += std::trunc(products[j][n] * up[n]) * down[n];
    }
    for (int n = 0; n < 8; ++n) {
        sums[n] = std::isfinite(plain[n]) ? cut_to_float(totals[n]) : static_cast<float>(plain[n]);
    }
}

// kPerWord elements in a word, kStep products at a time. The elements of a word come from `element`.
template <int kPerWord, int kStep, double (*element)(unsigned word, int i)>
std::uint64_t multiplied(const Gathering& all, unsigned lane) {
    if (!is_first(all, lane)) return 0;
    constexpr int kK = 8 * kPerWord;
    constexpr Fragments kGone = {{~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}, {0.0F, 0.0F, 0.0F, 0.0F}};
    double a[16][kK];
    double b[kK][8];
    float c[16][8];
    for (unsigned from = 0; from < 32; ++from) {
        const Fragments* const given = brought<Fragments>(all, from);
        const Fragments& f = given != nullptr ? *given : kGone;
        const unsigned g = from / 4;
        const unsigned t = from % 4;
        for (unsigned i = 0; i < kPerWord; ++i) {
            for (unsigned word = 0; word < 4; ++word) {
                a[g + word % 2 * 8][(t + word / 2 * 4) * kPerWord + i] = element(f.a[word], static_cast<int>(i));
            }
            for (unsigned word = 0; word < 2; ++word) {
                b[(t + word * 4) * kPerWord + i][g] = element(f.b[word], static_cast<int>(i));
            }
        }
        for (unsigned i = 0; i < 4; ++i) c[g + i / 2 * 8][2 * t + i % 2] = f.c[i];
    }
    for (int m = 0; m < 16; ++m) {
        for (int k = 0; k < kK; k += kStep) {
            double products[kStep][8];
            for (int j = 0; j < kStep; ++j) {
                for (int n = 0; n < 8; ++n) products[j][n] = a[m][k + j] * b[k + j][n];
            }
            add_products<kStep>(c[m], products);
        }
    }
    for (unsigned to = 0; to < 32; ++to) {
        Fragments* const f = brought<Fragments>(all, to);
        if (f == nullptr) continue;
        for (unsigned i = 0; i < 4; ++i) f->c[i] = c[to / 4 + i / 2 * 8][2 * (to % 4) + i % 2];
    }
    return 0;
}

double tf32_element(unsigned word, int) { return as_float(word & 0xffffe000U); }
double bfloat16_element(unsigned word, int i) { return as_float(i == 0 ? word << 16 : word & 0xffff0000U); }

void multiply_add(const char* kind, Gathering::Result result, const unsigned (&a)[4], unsigned b0, unsigned b1,
                  float (&c)[4], Site where) {
    Fragments mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {c[0], c[1], c[2], c[3]}};
    meet(kind, result, mine, where);
    std::copy(std::begin(mine.c), std::end(mine.c), c);
}

}  // namespace

void check_matrix_row(const void* row, Site where) {
    const auto complain = [where](const char* what) { fail("ldmatrix at " + described(where) + ": " + what); };
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) complain("a row is not aligned");
    if (!shared_memory_of_block().contains(row, 16)) complain("reads outside of shared arrays");
}

void exchange_rows(MatrixRow& mine, bool transposed, Site where) {
    if (transposed) {
        meet("ldmatrix.trans", rows_exchanged<true>, mine, where);
    } else {
        meet("ldmatrix", rows_exchanged<false>, mine, where);
    }
}

void multiply_add_tf32(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4], Site where) {
    multiply_add("mma.m16n8k8.tf32", multiplied<1, 4, tf32_element>, a, b0, b1, c, where);
}
void multiply_add_bfloat16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4], Site where) {
    multiply_add("mma.m16n8k16.bf16", multiplied<2, 8, bfloat16_element>, a, b0, b1, c, where);
}

}  // namespace cuda_emulator
