// SPDX-License-Identifier: Apache-2.0
// The primitives for T = float, I = std::int32_t. The fused multiply-add rounds once on every machine, so a formula
// with T = float has the bits of the same formula on a vector type that has the instruction and divides exactly.
#pragma once

#include <cstdint>

#include "math/host_device.hpp"

namespace isthmus::math {

ISTHMUS_HD float select(bool mask, float a, float b) { return mask ? a : b; }

#if defined(__CUDA_ARCH__)
ISTHMUS_HD std::int32_t bits(float a) { return __float_as_int(a); }
ISTHMUS_HD float from_bits(std::int32_t a) { return __int_as_float(a); }
ISTHMUS_HD float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
ISTHMUS_HD float sqrt(float a) { return __fsqrt_rn(a); }
ISTHMUS_HD std::uint32_t mul_high(std::uint32_t a, std::uint32_t b) { return __umulhi(a, b); }
#else
ISTHMUS_HD std::int32_t bits(float a) { return __builtin_bit_cast(std::int32_t, a); }
ISTHMUS_HD float from_bits(std::int32_t a) { return __builtin_bit_cast(float, a); }
ISTHMUS_HD float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
ISTHMUS_HD float sqrt(float a) { return __builtin_sqrtf(a); }
ISTHMUS_HD std::uint32_t mul_high(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}
#endif

// a * b + c rounded twice everywhere, for what must have the same bits on an instruction set without the fused one.
template <class T>
ISTHMUS_HD T multiply_then_add(T a, T b, T c) {
    return a * b + c;
}
#if defined(__CUDA_ARCH__)
ISTHMUS_HD float multiply_then_add(float a, float b, float c) { return __fadd_rn(__fmul_rn(a, b), c); }
#endif

// For normal b and a quotient in range: within 1 ULP on a vector type or a GPU, where the exact one would be slow, on a
// GPU ten instructions and a branch. There it is an estimate of the reciprocal, the quotient, and what that leaves.
// root, of a >= 0: exact, but on a GPU within 2 ULP by one instruction; the exact one is nine and a branch for zeros.
// tests/gpu/test_conformance.cu holds a GPU to it.
#if defined(__CUDA_ARCH__)
ISTHMUS_HD float reciprocal_estimate(float a) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
    return result;
}
ISTHMUS_HD float divide(float a, float b) {
    const float inverse = reciprocal_estimate(b);
    const float quotient = a * inverse;
    return fma(fma(-b, quotient, a), inverse, quotient);
}
ISTHMUS_HD float reciprocal(float a) {
    const float inverse = reciprocal_estimate(a);
    return fma(fma(-a, inverse, 1.0F), inverse, inverse);
}
ISTHMUS_HD float root(float a) {
    float result;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
    return result;
}
#else
ISTHMUS_HD float divide(float a, float b) { return a / b; }
ISTHMUS_HD float reciprocal(float a) { return 1.0F / a; }
ISTHMUS_HD float root(float a) { return sqrt(a); }
#endif
template <class T>
ISTHMUS_HD T root(T a) {
    return sqrt(a);
}

// Towards zero; the value must fit.
ISTHMUS_HD std::int32_t to_int(float a) { return static_cast<std::int32_t>(a); }
ISTHMUS_HD float to_float(std::int32_t a) { return static_cast<float>(a); }
ISTHMUS_HD float to_float(std::uint32_t a) { return static_cast<float>(a); }

ISTHMUS_HD float abs(float a) { return from_bits(bits(a) & 0x7fffffff); }
ISTHMUS_HD float copysign(float a, float b) { return from_bits((bits(a) & 0x7fffffff) | (bits(b) & INT32_MIN)); }
ISTHMUS_HD float max(float a, float b) { return a > b ? a : b; }
ISTHMUS_HD float min(float a, float b) { return a < b ? a : b; }

// The two halves of the 64-bit product of two unsigned numbers.
ISTHMUS_HD void mul_hi_lo(std::uint32_t a, std::uint32_t b, std::uint32_t& hi, std::uint32_t& lo) {
    hi = mul_high(a, b);
    lo = a * b;
}

}  // namespace isthmus::math
