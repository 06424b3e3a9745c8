// SPDX-License-Identifier: Apache-2.0
// Matrices in bfloat16 planes for tests, made on the host, and what a product of them is in double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cuda/planes.hpp"
#include "emulated.hpp"

namespace emulated {

using isthmus::cuda::Bfloat16;
using isthmus::cuda::Planes;

// Nearest, ties to even, of a finite number.
inline Bfloat16 to_bfloat16(float x) {
    const auto bits = __builtin_bit_cast(std::uint32_t, x);
    return static_cast<Bfloat16>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}
inline float to_float(Bfloat16 x) { return __builtin_bit_cast(float, std::uint32_t{x} << 16); }

// (rows, cols) of floats, and its planes on the device; between the columns and the stride there is NaN.
class PlaneMatrix {
public:
    PlaneMatrix(int rows, int cols, int count, const std::vector<float>& values)
        : rows_(rows), cols_(cols), count_(count), values_(values), on_device_(split()) {}

    Planes planes() const { return {on_device_.data(), stride(), stride() * rows_, count_}; }
    double value(int row, int col) const { return values_[static_cast<std::size_t>(row * cols_ + col)]; }
    double value(int plane, int row, int col) const {
        return to_float(bits_[static_cast<std::size_t>((plane * rows_ + row) * stride() + col)]);
    }
    int count() const { return count_; }

private:
    int stride() const { return (cols_ + 7) / 8 * 8 + 8; }
    std::vector<Bfloat16> split() {
        bits_.assign(static_cast<std::size_t>(count_ * rows_ * stride()), 0xffff);
        for (int row = 0; row < rows_; ++row) {
            for (int col = 0; col < cols_; ++col) {
                float left = values_[static_cast<std::size_t>(row * cols_ + col)];
                for (int plane = 0; plane < count_; ++plane) {
                    const Bfloat16 part = to_bfloat16(left);
                    left -= to_float(part);
                    bits_[static_cast<std::size_t>((plane * rows_ + row) * stride() + col)] = part;
                }
            }
        }
        return bits_;
    }

    int rows_, cols_, count_;
    std::vector<float> values_;
    std::vector<Bfloat16> bits_;
    DeviceArray<Bfloat16> on_device_;
};

// Of the pairs of planes that are multiplied: their sum over k, and that of their magnitudes.
struct Exact {
    double sum = 0.0;
    double magnitude = 0.0;

    void add(double term) {
        sum += term;
        magnitude += std::fabs(term);
    }
};
// at_a(k) and at_b(k): row and column in a and b.
template <class AtA, class AtB>
Exact exact_product(const PlaneMatrix& a, const PlaneMatrix& b, int k_count, AtA&& at_a, AtB&& at_b) {
    Exact exact;
    for (int i = 0; i < a.count(); ++i) {
        for (int j = 0; i + j < a.count(); ++j) {
            for (int k = 0; k < k_count; ++k) {
                const auto [row_a, col_a] = at_a(k);
                const auto [row_b, col_b] = at_b(k);
                exact.add(a.value(i, row_a, col_a) * b.value(j, row_b, col_b));
            }
        }
    }
    return exact;
}

}  // namespace emulated
