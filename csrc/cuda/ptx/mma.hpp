// SPDX-License-Identifier: Apache-2.0
// The tensor cores of sm_80 and later, a warp at a time: fragments from shared memory, what rounds their numbers, and
// the products. Like ptx.hpp: inline PTX as wrappers, each with an emulated twin. All 32 lanes call together.
//
// Of a fragment a lane has words; with g = lane / 4 and t = lane % 4 they are, bfloat16 by twos and the lower half
// first (PTX ISA, "Matrix Fragments for mma.m16n8k16" and "mma.m16n8k8"):
//
//     a  16 x 8 words, rows m:     a[0] (g, t)  a[1] (g + 8, t)  a[2] (g, t + 4)  a[3] (g + 8, t + 4)
//     b  8 words x 8, columns n:   b[0] (t, g)  b[1] (t + 4, g)
//     c  16 x 8 floats:            c[0], c[1] (g, 2 t), (g, 2 t + 1)   c[2], c[3] the same of row g + 8
//
// A word along k is one tf32 or two bfloat16, so both kinds are laid out alike.
#pragma once

#include <cuda_runtime.h>

#include "cuda/ptx.hpp"

namespace isthmus::cuda {

#if defined(ISTHMUS_CUDA_EMULATED)

using CallSite = ::cuda_emulator::Site;

__device__ __forceinline__ void ldmatrix_x4(const void* row, unsigned (&words)[4],
                                            CallSite where = CallSite::current()) {
    ::cuda_emulator::load_matrices(row, words, false, where);
}
__device__ __forceinline__ void ldmatrix_x4_trans(const void* row, unsigned (&words)[4],
                                                  CallSite where = CallSite::current()) {
    ::cuda_emulator::load_matrices(row, words, true, where);
}
__device__ __forceinline__ unsigned cvt_rna_tf32(unsigned value) { return ::cuda_emulator::to_tf32(value); }
__device__ __forceinline__ unsigned cvt_rn_bf16x2(float lower, float upper) {
    return ::cuda_emulator::to_bfloat16(lower) | ::cuda_emulator::to_bfloat16(upper) << 16;
}
__device__ __forceinline__ void mma_m16n8k8_tf32(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4],
                                                 CallSite where = CallSite::current()) {
    ::cuda_emulator::multiply_add_tf32(a, b0, b1, c, where);
}
__device__ __forceinline__ void mma_m16n8k16_bf16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4],
                                                  CallSite where = CallSite::current()) {
    ::cuda_emulator::multiply_add_bfloat16(a, b0, b1, c, where);
}

#else

// Four matrices of 8 rows of 16 bytes in shared memory, matrix i of the rows that lanes 8 i to 8 i + 7 point to, each
// aligned to 16 bytes. words[i] is word t of row g of matrix i.
__device__ __forceinline__ void ldmatrix_x4(const void* row, unsigned (&words)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row))
                 : "memory");
}
// The same of 16-bit elements, transposed: the halves of words[i] are elements (2 t, g) and (2 t + 1, g) of matrix i.
__device__ __forceinline__ void ldmatrix_x4_trans(const void* row, unsigned (&words)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row))
                 : "memory");
}
// A float, as bits, to tf32, as bits: to nearest, ties away from zero, 10 bits kept. The 13 bits below them are without
// meaning. NaN and infinity stay what they are.
__device__ __forceinline__ unsigned cvt_rna_tf32(unsigned value) {
    unsigned result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(value)));
    return result;
}
// Two floats to bfloat16, to nearest, ties to even.
__device__ __forceinline__ unsigned cvt_rn_bf16x2(float lower, float upper) {
    unsigned result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(upper), "f"(lower));
    return result;
}
// c += a b in float32: 16 x 8 x 8 in tf32, of whose operands the low 13 bits are not read.
__device__ __forceinline__ void mma_m16n8k8_tf32(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same, 16 x 8 x 16 in bfloat16.
__device__ __forceinline__ void mma_m16n8k16_bf16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif

}  // namespace isthmus::cuda
