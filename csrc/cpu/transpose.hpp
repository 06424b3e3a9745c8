// SPDX-License-Identifier: Apache-2.0
// A square of vectors, transposed in registers.
//
// Included by what is compiled once for each instruction set.
#pragma once

#include "cpu/simd.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// Transposes a square of kLanes vectors in place: log2(kLanes) rounds of interleaving row i with row i + kLanes / 2.
ISTHMUS_INLINE void transpose_square(Vec (&rows)[kLanes]) {
#pragma GCC unroll 4
    for (int round = 1; round < kLanes; round *= 2) {
        Vec next[kLanes];
#pragma GCC unroll 8
        for (int i = 0; i < kLanes / 2; ++i) {
            next[2 * i] = interleave_low(rows[i], rows[i + kLanes / 2]);
            next[2 * i + 1] = interleave_high(rows[i], rows[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
