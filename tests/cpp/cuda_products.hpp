// SPDX-License-Identifier: Apache-2.0
// Products of the CUDA device on matrices of the host: shapes around every tile, and the three products of a layer on
// integers, which every arithmetic must get exactly.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "cuda_fixture.hpp"

namespace fixture {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

template <class F>
void for_each_tile(F&& f) {
    for (const char* name : {"large", "medium", "small"}) {
        const Variable tile("ISTHMUS_CUDA_TILE", name);
        f();
    }
}

// A matrix whose rows are further apart than they are wide; what is between them must not be written.
struct Matrix {
    Matrix(std::int64_t r, std::int64_t c) : values(static_cast<std::size_t>(r * (c + 3)), kNaN), rows(r), cols(c) {}
    float& at(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * (cols + 3) + c)]; }
    MutableMatrixView view() { return {values.data(), rows, cols, cols + 3}; }
    bool gaps_untouched() {
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = cols; c < cols + 3; ++c) {
                if (!std::isnan(values[static_cast<std::size_t>(r * (cols + 3) + c)])) return false;
            }
        }
        return true;
    }

    std::vector<float> values;
    std::int64_t rows, cols;
};

inline Matrix integers(std::int64_t rows, std::int64_t cols, int salt) {
    Matrix m(rows, cols);
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
            m.at(r, c) = static_cast<float>((r * 7 + c * 13 + salt * 5 + r * c) % 9 - 4);
        }
    }
    return m;
}

inline Matrix uniform_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
    Matrix m(rows, cols);
    const std::vector<float> values = uniform(rows * cols, seed, -3.0, 3.0);
    for (std::int64_t i = 0; i < rows * cols; ++i) m.at(i / cols, i % cols) = values[static_cast<std::size_t>(i)];
    return m;
}

// Around every tile and slice of k, aligned rows and others, and so many rows that a gradient sums them in parts.
struct ProductShape {
    std::int64_t rows, in, out;
};
inline constexpr ProductShape kProductShapes[] = {
    {1, 1, 1},    {1, 4, 8},     {3, 5, 7},     {8, 8, 4},    {16, 15, 17},  {31, 33, 32},
    {32, 16, 32}, {33, 17, 31},  {64, 64, 64},  {65, 63, 66}, {127, 9, 129}, {128, 24, 128},
    {130, 40, 5}, {7, 131, 140}, {200, 33, 70}, {1000, 3, 5}, {8200, 2, 1},
};

inline std::vector<float> values_of(Matrix& m) {
    std::vector<float> values;
    for (std::int64_t r = 0; r < m.rows; ++r) {
        for (std::int64_t c = 0; c < m.cols; ++c) values.push_back(m.at(r, c));
    }
    return values;
}

// Whether forward, input gradient and weight gradient are what they must be, to the bit, and nothing else is written.
inline bool exact_on_integers(const Kernels& kernels, const ProductShape& shape, const CompileOptions& options) {
    const auto [n, in, out] = shape;
    Matrix x = integers(n, in, 1);
    Matrix w = integers(out, in, 2);
    Matrix dz = integers(n, out, 3);
    const std::vector<float> bias = integers(1, out, 4).values;
    Matrix y(n, out), dx(n, in), dw(out, in);
    std::vector<float> db(static_cast<std::size_t>(out), kNaN);
    kernels.dense_forward(x.view(), w.view(), bias.data(), Activation::linear, y.view(), options);
    kernels.dense_backward_input(dz.view(), w.view(), dx.view(), options);
    kernels.dense_backward_weight(x.view(), dz.view(), dw.view(), db.data(), options);
    bool right = y.gaps_untouched() && dx.gaps_untouched() && dw.gaps_untouched();
    for (std::int64_t r = 0; r < n; ++r) {
        for (std::int64_t o = 0; o < out; ++o) {
            float sum = bias[static_cast<std::size_t>(o)];
            for (std::int64_t i = 0; i < in; ++i) sum += x.at(r, i) * w.at(o, i);
            right &= y.at(r, o) == sum;
        }
        for (std::int64_t i = 0; i < in; ++i) {
            float sum = 0.0F;
            for (std::int64_t o = 0; o < out; ++o) sum += dz.at(r, o) * w.at(o, i);
            right &= dx.at(r, i) == sum;
        }
    }
    for (std::int64_t o = 0; o < out; ++o) {
        float bias_sum = 0.0F;
        for (std::int64_t r = 0; r < n; ++r) bias_sum += dz.at(r, o);
        right &= db[static_cast<std::size_t>(o)] == bias_sum;
        for (std::int64_t i = 0; i < in; ++i) {
            float sum = 0.0F;
            for (std::int64_t r = 0; r < n; ++r) sum += dz.at(r, o) * x.at(r, i);
            right &= dw.at(o, i) == sum;
        }
    }
    if (!right) std::printf("n %d, in %d, out %d\n", int(n), int(in), int(out));
    return right;
}

}  // namespace fixture
