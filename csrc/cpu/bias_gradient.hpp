// SPDX-License-Identifier: Apache-2.0
// The gradient of a panel's biases, which no precision rounds.
//
// Included by what is compiled once for each instruction set.
#pragma once

#include "cpu/simd.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// db (width) = sum over rows of dz, or what db holds plus that. Row r goes to chain r % 4: an add takes four cycles,
// and one chain would wait for each.
static void bias_gradient(std::int64_t rows, const float* dz_rows, std::int64_t dz_stride, std::int64_t width,
                          bool accumulate, float* db) {
    for (std::int64_t j = 0; j < width; j += kLanes) {
        Vec chain[4] = {Vec(0.0F), Vec(0.0F), Vec(0.0F), Vec(0.0F)};
        const float* dz = dz_rows + j;
        std::int64_t r = 0;
        for (; r + 4 <= rows; r += 4, dz += 4 * dz_stride) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) chain[i] = chain[i] + Vec::load(dz + i * dz_stride);
        }
        for (int i = 0; r < rows; ++r, ++i, dz += dz_stride) chain[i] = chain[i] + Vec::load(dz);
        const Vec sum = (chain[0] + chain[1]) + (chain[2] + chain[3]);
        (accumulate ? Vec::load(db + j) + sum : sum).store(db + j);
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
