// SPDX-License-Identifier: Apache-2.0
// The marks that this floor's functions carry: ISTHMUS_HD every formula, ISTHMUS_HOST the few that only a host calls.
//
// A formula is a template over T: float, or the vector type of an instruction set. It is always inlined, so that no
// copy compiled for one instruction set can be kept by the linker for another, and under nvcc it is host and device
// code. It uses only these primitives, found by overload for T and its integer twin I:
//
//     + - * /   < <= > >= ==   select(mask, a, b)   fma  divide  reciprocal  sqrt  root  abs  copysign  max  min
//     bits(T) -> I   from_bits(I) -> T   to_int(T) -> I   to_float(I) -> T   I: + - & | ^ << >>
//
// max(a, b) is b unless a > b, min(a, b) is b unless a < b: written with the constant first, they pass a NaN on.
#pragma once

#if defined(__CUDACC__)
#define ISTHMUS_HD __host__ __device__ __forceinline__
#else
#define ISTHMUS_HD inline __attribute__((always_inline))
#endif
#define ISTHMUS_HOST inline __attribute__((always_inline))
