// SPDX-License-Identifier: Apache-2.0
// What csrc/cuda/ptx/mma.hpp stands on when there is no GPU: collectives of all 32 lanes.
//
// Sums are those of an A100, which keeps the fewest bits of all GPUs that these kernels run on (Khattak and Mikaitis,
// "Accurate Models of NVIDIA Tensor Cores", arXiv 2512.07004): products are exact; 8 of them in bfloat16, 4 in tf32, k
// ascending, are added to the sum so far, each addend cut to 25 bits from the leading bit of the largest; the result is
// cut to 24. The low 13 bits of a tf32 operand are not read. Denormals count as 0, which on the device they do not.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_emulator/device.hpp"

namespace cuda_emulator {

// ldmatrix: the 16 bytes that a lane points to, and the word it has of each of the four matrices.
struct MatrixRow {
    std::uint32_t row[4];
    std::uint32_t words[4];
};
// Reports a row that is not in shared memory or not aligned to 16 bytes.
void check_matrix_row(const void* row, Site where);
void exchange_rows(MatrixRow& mine, bool transposed, Site where);

// The lane reads its row itself: sanitizers see who reads what.
inline void load_matrices(const void* row, unsigned (&words)[4], bool transposed, Site where) {
    check_matrix_row(row, where);
    MatrixRow mine;
    std::memcpy(mine.row, row, sizeof mine.row);
    exchange_rows(mine, transposed, where);
    std::memcpy(words, mine.words, sizeof words);
}

void multiply_add_tf32(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4], Site where);
void multiply_add_bfloat16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4], Site where);

// cvt.rna.tf32.f32; the low 13 bits of the result are 0.
inline unsigned to_tf32(unsigned bits) {
    if ((bits & 0x7f800000U) == 0x7f800000U) return (bits & 0x7fffffU) != 0 ? bits | 0x400000U : bits;
    return (bits + 0x1000U) & 0xffffe000U;
}
// cvt.rn.bf16.f32
inline unsigned to_bfloat16(float value) {
    const unsigned bits = __builtin_bit_cast(unsigned, value);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fffU;
    return (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
}

}  // namespace cuda_emulator
