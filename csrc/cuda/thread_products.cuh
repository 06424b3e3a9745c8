// SPDX-License-Identifier: Apache-2.0
// What one thread does with its tile of a product whose operands are in shared memory: the sums, the activation, the
// loss, in the order and with the formulas of gemm.cuh, epilogues.cuh and loss.cu.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/thread_tiles.hpp"
#include "cuda/visit.cuh"
#include "isthmus/types.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

// f(TileOf<rows, columns>{}) for a thread tile.
template <int kRows_, int kCols_>
struct TileOf {
    static constexpr int kRows = kRows_, kCols = kCols_;
};
template <class F>
__device__ __forceinline__ void with_thread_tile(ThreadTile tile, F&& f) {
    switch (tile) {
        case ThreadTile::two_rows: return f(TileOf<2, 1>{});
        case ThreadTile::five_rows: return f(TileOf<5, 1>{});
        case ThreadTile::four_by_two: return f(TileOf<4, 2>{});
        default: return f(TileOf<1, 1>{});
    }
}

__device__ __forceinline__ void read_four(const float* from, float (&values)[4]) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    values[0] = four.x;
    values[1] = four.y;
    values[2] = four.z;
    values[3] = four.w;
}

// The operands of one thread's tile for four of k, on their way from shared memory to registers. A place for each row
// of a and each column of b, or each of four rows of b, goes on by itself: an address then costs one addition.
template <bool kAlongK, int kRows, int kCols>
class Operands {
public:
    struct Four {
        float a[kRows][4];
        float b[kCols][4];
    };

    __device__ __forceinline__ Operands(const float* a, int a_stride, const float* b, int b_column, int b_row)
        : column_(b_column), step_(kAlongK ? 4 : 4 * b_row) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) a_[i] = a + i * a_stride;
#pragma unroll
        for (int i = 0; i < kPlaces; ++i) b_[i] = b + i * (kAlongK ? b_column : b_row);
    }

    __device__ __forceinline__ void next(Four& four) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            read_four(a_[i], four.a[i]);
            a_[i] += 4;
        }
#pragma unroll
        for (int i = 0; i < kPlaces; ++i) {
            if constexpr (kAlongK) {
                read_four(b_[i], four.b[i]);
            } else {
#pragma unroll
                for (int j = 0; j < kCols; ++j) four.b[j][i] = b_[i][j * column_];
            }
            b_[i] += step_;
        }
    }

private:
    static constexpr int kPlaces = kAlongK ? kCols : 4;
    const float* a_[kRows];
    const float* b_[kPlaces];
    int column_, step_;
};

template <int kRows, int kCols>
__device__ __forceinline__ void add_products(const float (&a)[kRows][4], const float (&b)[kCols][4],
                                             float (&sums)[kRows][kCols]) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < kCols; ++j) sums[i][j] = math::fma(a[i][k], b[j][k], sums[i][j]);
        }
    }
}

// sums[i][j] += sum over k of a(i, k) b(k, j). Rows of a are a_stride apart. kAlongK: column j of b begins at
// b + j * b_column and is contiguous in k; else its elements are b_row apart.
//
// The next operands are asked for before those that are there are multiplied: shared memory takes some 30 cycles to
// answer, and a scheduler often has one warp alone. A small tile, whose chain of sums is all that it waits for, asks
// for two fours at a time.
template <bool kAlongK, int kRows, int kCols>
__device__ __forceinline__ void multiply(const float* a, int a_stride, const float* b, int b_column, int b_row,
                                         int k_quads, float (&sums)[kRows][kCols]) {
    using From = Operands<kAlongK, kRows, kCols>;
    constexpr int kAtOnce = kRows * kCols <= 2 ? 2 : 1;
    From from(a, a_stride, b, b_column, b_row);
    typename From::Four even[kAtOnce], odd[kAtOnce];
    const auto ask = [&](typename From::Four(&fours)[kAtOnce]) {
#pragma unroll
        for (auto& four : fours) from.next(four);
    };
    const auto add = [&](const typename From::Four(&fours)[kAtOnce]) {
#pragma unroll
        for (const auto& four : fours) add_products(four.a, four.b, sums);
    };
    int left = k_quads;
    if (left >= kAtOnce) {
        ask(even);
        left -= kAtOnce;
#pragma unroll 1
        for (; left >= 2 * kAtOnce; left -= 2 * kAtOnce) {
            ask(odd);
            add(even);
            ask(even);
            add(odd);
        }
        if (left >= kAtOnce) {
            left -= kAtOnce;
            ask(odd);
            add(even);
            add(odd);
        } else {
            add(even);
        }
    }
    if (kAtOnce > 1 && left > 0) {
        from.next(even[0]);
        add_products(even[0].a, even[0].b, sums);
    }
}

// z becomes y = act(z).
template <int kRows, int kCols>
__device__ __forceinline__ void activate(Activation activation, float (&z)[kRows][kCols]) {
    visit_on_device(math::Activations{}, activation, [&](auto act) {
#pragma unroll
        for (auto& row : z) {
#pragma unroll
            for (float& value : row) value = decltype(act)::forward(value);
        }
    });
}

// z becomes y = act(z), and d the derivative there.
template <int kRows, int kCols>
__device__ __forceinline__ void activate(Activation activation, float (&z)[kRows][kCols], float (&d)[kRows][kCols]) {
    visit_on_device(math::Activations{}, activation, [&](auto act) {
        using Act = decltype(act);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < kCols; ++j) {
                const float y = Act::forward(z[i][j]);
                d[i][j] = Act::derivative(Act::needs_z ? z[i][j] : y);
                z[i][j] = y;
            }
        }
    });
}

// y, outputs of a few rows at the columns col, col + apart, ..., becomes each element's loss; d, the derivative of the
// last activation, becomes dz, 0 beyond `width` columns.
template <int kRows, int kCols, class WeightOf>
__device__ __forceinline__ void take_loss(Loss loss, const float* targets, int targets_stride, int width, int row,
                                          int col, int apart, WeightOf&& weight_of, float (&y)[kRows][kCols],
                                          float (&d)[kRows][kCols]) {
    visit_on_device(math::Losses{}, loss, [&](auto which) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const float scale = weight_of(row + i) / static_cast<float>(width);
#pragma unroll
            for (int j = 0; j < kCols; ++j) {
                const int c = col + j * apart;
                float value;
                float gradient;
                const float target = c < width ? targets[(row + i) * targets_stride + c] : 0.0F;
                decltype(which)::evaluate(y[i][j], target, value, gradient);
                y[i][j] = value;
                d[i][j] = c < width ? gradient * scale * d[i][j] : 0.0F;
            }
        }
    });
}

}  // namespace isthmus::cuda
