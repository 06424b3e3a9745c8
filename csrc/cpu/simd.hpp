// SPDX-License-Identifier: Apache-2.0
// The SIMD wrapper: one vector type `Vec` of floats over GCC/Clang vector extensions, its integer twin `IVec`, and
// the primitives that the formulas of math/ ask of a type (fma, select, sqrt, bits ...).
//
// Every kernel source is compiled once for each instruction set, with ISTHMUS_ISA set to the name of the namespace
// that holds that copy. Everything here is inside that namespace and always inlined, and no std:: template is used:
// the linker keeps one copy of an inline function for the whole library, and it must not be the AVX-512 one.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef ISTHMUS_ISA
#error "compile with -DISTHMUS_ISA=<instruction set>"
#endif

#define ISTHMUS_INLINE inline __attribute__((always_inline))
#define ISTHMUS_LAMBDA_INLINE __attribute__((always_inline))

namespace isthmus::cpu::ISTHMUS_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

using NativeFloat = float __attribute__((vector_size(kLanes * 4)));
using NativeInt = std::int32_t __attribute__((vector_size(kLanes * 4)));
using NativeUint = std::uint32_t __attribute__((vector_size(kLanes * 4)));

// 32-bit integer lanes; >> is arithmetic.
struct IVec {
    NativeInt v;
    ISTHMUS_INLINE IVec() = default;
    ISTHMUS_INLINE IVec(NativeInt x) : v(x) {}
    ISTHMUS_INLINE IVec(std::int32_t x) : v(NativeInt{} + x) {}
};

// All bits of a lane are set (true) or clear (false).
struct Mask {
    NativeInt v;
};

struct Vec {
    NativeFloat v;
    ISTHMUS_INLINE Vec() = default;
    ISTHMUS_INLINE Vec(NativeFloat x) : v(x) {}
    ISTHMUS_INLINE Vec(float x) : v(x - NativeFloat{}) {}  // x - 0 is x for every x, x + 0 loses -0

    ISTHMUS_INLINE static Vec load(const float* p) {
        Vec r;
        __builtin_memcpy(&r.v, p, sizeof(r.v));
        return r;
    }
    ISTHMUS_INLINE void store(float* p) const { __builtin_memcpy(p, &v, sizeof(v)); }
};

#define ISTHMUS_BINARY(TYPE, OP) \
    ISTHMUS_INLINE TYPE operator OP(TYPE a, TYPE b) { return TYPE(a.v OP b.v); }
ISTHMUS_BINARY(Vec, +)
ISTHMUS_BINARY(Vec, -)
ISTHMUS_BINARY(Vec, *)
ISTHMUS_BINARY(Vec, /)
ISTHMUS_BINARY(IVec, &)
ISTHMUS_BINARY(IVec, |)
ISTHMUS_BINARY(IVec, ^)
#undef ISTHMUS_BINARY

// Modulo 2^32, which signed arithmetic does not promise.
ISTHMUS_INLINE IVec operator+(IVec a, IVec b) {
    return IVec(reinterpret_cast<NativeInt>(reinterpret_cast<NativeUint>(a.v) + reinterpret_cast<NativeUint>(b.v)));
}
ISTHMUS_INLINE IVec operator-(IVec a, IVec b) {
    return IVec(reinterpret_cast<NativeInt>(reinterpret_cast<NativeUint>(a.v) - reinterpret_cast<NativeUint>(b.v)));
}

#define ISTHMUS_COMPARE(OP)                                                \
    ISTHMUS_INLINE Mask operator OP(Vec a, Vec b) { return {a.v OP b.v}; } \
    ISTHMUS_INLINE Mask operator OP(IVec a, IVec b) { return {a.v OP b.v}; }
ISTHMUS_COMPARE(<)
ISTHMUS_COMPARE(<=)
ISTHMUS_COMPARE(>)
ISTHMUS_COMPARE(>=)
ISTHMUS_COMPARE(==)
ISTHMUS_COMPARE(!=)
#undef ISTHMUS_COMPARE

ISTHMUS_INLINE Vec operator-(Vec a) { return Vec(-a.v); }
ISTHMUS_INLINE IVec operator<<(IVec a, int n) { return IVec(a.v << n); }
ISTHMUS_INLINE IVec operator>>(IVec a, int n) { return IVec(a.v >> n); }
ISTHMUS_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
ISTHMUS_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }

ISTHMUS_INLINE Vec select(Mask m, Vec a, Vec b) { return Vec(m.v ? a.v : b.v); }
ISTHMUS_INLINE IVec select(Mask m, IVec a, IVec b) { return IVec(m.v ? a.v : b.v); }

ISTHMUS_INLINE IVec bits(Vec a) { return IVec(reinterpret_cast<NativeInt>(a.v)); }
ISTHMUS_INLINE Vec from_bits(IVec a) { return Vec(reinterpret_cast<NativeFloat>(a.v)); }
// Exact for integral values within 2^24; elsewhere towards zero.
ISTHMUS_INLINE IVec to_int(Vec a) { return IVec(__builtin_convertvector(a.v, NativeInt)); }
ISTHMUS_INLINE Vec to_float(IVec a) { return Vec(__builtin_convertvector(a.v, NativeFloat)); }

// The two halves of each lane's 64-bit product, lanes taken as unsigned.
ISTHMUS_INLINE void mul_hi_lo(IVec a, IVec b, IVec& hi, IVec& lo) {
#if defined(__x86_64__)
    // The instruction multiplies the even lanes; the odd ones are shifted down to them. (The form with a mask, since
    // GCC 12 warns of its own uninitialised register in the plain one.)
    using Wide = std::uint64_t __attribute__((vector_size(kLanes * 4)));
    const auto multiply = [](Wide x, Wide y) ISTHMUS_LAMBDA_INLINE {
#if defined(__AVX512F__)
        return reinterpret_cast<Wide>(_mm512_maskz_mul_epu32(0xff, (__m512i)x, (__m512i)y));
#elif defined(__AVX2__)
        return reinterpret_cast<Wide>(_mm256_mul_epu32((__m256i)x, (__m256i)y));
#else
        return reinterpret_cast<Wide>(_mm_mul_epu32((__m128i)x, (__m128i)y));
#endif
    };
    const Wide x = reinterpret_cast<Wide>(a.v), y = reinterpret_cast<Wide>(b.v);
    const Wide even = multiply(x, y), odd = multiply(x >> 32, y >> 32);
    const Wide upper = Wide{} + 0xffffffff00000000U;
    hi = IVec(reinterpret_cast<NativeInt>((even >> 32) | (odd & upper)));
    lo = IVec(reinterpret_cast<NativeInt>((even & ~upper) | (odd << 32)));
#else
    for (int i = 0; i < kLanes; ++i) {
        const std::uint64_t product =
            static_cast<std::uint64_t>(static_cast<std::uint32_t>(a.v[i])) * static_cast<std::uint32_t>(b.v[i]);
        hi.v[i] = static_cast<std::int32_t>(product >> 32);
        lo.v[i] = static_cast<std::int32_t>(product);
    }
#endif
}

// Lanes a0 b0 a1 b1 ... of the lower halves, and of the upper halves.
ISTHMUS_INLINE Vec interleave_low(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(__builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
#elif defined(__AVX2__)
    return Vec(__builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11));
#else
    return Vec(__builtin_shufflevector(a.v, b.v, 0, 4, 1, 5));
#endif
}
ISTHMUS_INLINE Vec interleave_high(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(__builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
#elif defined(__AVX2__)
    return Vec(__builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15));
#else
    return Vec(__builtin_shufflevector(a.v, b.v, 2, 6, 3, 7));
#endif
}

// a * b + c. One rounding where the instruction set has the instruction; the baseline of x86-64 has not, and rounds
// twice. That is the same for every element, so an instruction set keeps its bits.
ISTHMUS_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return Vec(reinterpret_cast<NativeFloat>(_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v)));
#elif defined(__FMA__)
    return Vec(reinterpret_cast<NativeFloat>(_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v)));
#elif defined(__aarch64__)
    return Vec(reinterpret_cast<NativeFloat>(vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)));
#else
    return Vec(a.v * b.v + c.v);
#endif
}

ISTHMUS_INLINE Vec sqrt(Vec a) {
#if defined(__AVX512F__)
    // The form without a mask makes GCC 12 warn of an uninitialised operand inside its own header.
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_sqrt_ps(0xffff, (__m512)a.v)));
#elif defined(__AVX2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm256_sqrt_ps((__m256)a.v)));
#elif defined(__SSE2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm_sqrt_ps((__m128)a.v)));
#elif defined(__aarch64__)
    return Vec(reinterpret_cast<NativeFloat>(vsqrtq_f32((float32x4_t)a.v)));
#endif
}

#if defined(__AVX512F__)
// c - a * b
ISTHMUS_INLINE Vec negated_fma(Vec a, Vec b, Vec c) {
    return Vec(reinterpret_cast<NativeFloat>(_mm512_fnmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v)));
}
// 1 / a to 14 bits
ISTHMUS_INLINE Vec estimate_reciprocal(Vec a) {
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_rcp14_ps(0xffff, (__m512)a.v)));
}
#endif

// 1 / a within 1 ULP, for normal a and 1 / a. The instruction keeps AVX-512's divider busy for 16 cycles; an estimate
// and one Newton step are three operations on the ports that are free.
template <class T>
ISTHMUS_INLINE T reciprocal(T a) {
#if defined(__AVX512F__)
    const T estimate = estimate_reciprocal(a);
    return fma(negated_fma(a, estimate, T(1.0F)), estimate, estimate);
#else
    return T(1.0F) / a;
#endif
}

// a / b within 1 ULP, for normal b and a quotient in range: the reciprocal and the remainder of the quotient.
template <class T>
ISTHMUS_INLINE T divide(T a, T b) {
#if defined(__AVX512F__)
    const T inverse = reciprocal(b);
    const T quotient = a * inverse;
    return fma(negated_fma(b, quotient, a), inverse, quotient);
#else
    return a / b;
#endif
}

ISTHMUS_INLINE Vec abs(Vec a) { return from_bits(bits(a) & IVec(0x7fffffff)); }
// Magnitude of a, sign of b.
ISTHMUS_INLINE Vec copysign(Vec a, Vec b) {
    return from_bits((bits(a) & IVec(0x7fffffff)) | (bits(b) & IVec(INT32_MIN)));
}
// max: b unless a > b, min: b unless a < b; with the constant first a NaN is passed on. That is what the instruction of
// x86-64 does, and GCC 12 does not find it where a is constant.
ISTHMUS_INLINE Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_max_ps(0xffff, (__m512)a.v, (__m512)b.v)));
#elif defined(__AVX2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm256_max_ps((__m256)a.v, (__m256)b.v)));
#elif defined(__SSE2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm_max_ps((__m128)a.v, (__m128)b.v)));
#else
    return select(a > b, a, b);
#endif
}
ISTHMUS_INLINE Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_min_ps(0xffff, (__m512)a.v, (__m512)b.v)));
#elif defined(__AVX2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm256_min_ps((__m256)a.v, (__m256)b.v)));
#elif defined(__SSE2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm_min_ps((__m128)a.v, (__m128)b.v)));
#else
    return select(a < b, a, b);
#endif
}

// ---- the first lanes of a vector ----------------------------------------------------------------------------------

// kLanes set words and kLanes clear ones: from kLanes - count on, the mask of the first `count` lanes.
alignas(64) static constexpr std::int32_t kFirstLanes[2 * kLanes] = {
#if defined(__AVX512F__)
    -1, -1, -1, -1, -1, -1, -1, -1,
#endif
#if defined(__AVX2__)
    -1, -1, -1, -1,
#endif
    -1, -1, -1, -1,
};

ISTHMUS_INLINE Mask first_lanes(std::int64_t count) {
    Mask mask;
    __builtin_memcpy(&mask.v, kFirstLanes + kLanes - (count < kLanes ? count : kLanes), sizeof(mask.v));
    return mask;
}

// x in lanes below count (1 ..), zero in the others, whatever x holds there.
ISTHMUS_INLINE Vec keep_part(Vec x, std::int64_t count) {
    if (count >= kLanes) return x;
#if defined(__AVX512F__)
    return Vec(
        reinterpret_cast<NativeFloat>(_mm512_maskz_mov_ps(static_cast<__mmask16>((1U << count) - 1U), (__m512)x.v)));
#else
    return from_bits(bits(x) & IVec(first_lanes(count).v));
#endif
}

// The first `count` (1 ..) floats at p, the other lanes zero; reads no others.
ISTHMUS_INLINE Vec load_part(const float* p, std::int64_t count) {
    if (count >= kLanes) return Vec::load(p);
#if defined(__AVX512F__)
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), p)));
#elif defined(__AVX2__)
    return Vec(reinterpret_cast<NativeFloat>(_mm256_maskload_ps(p, (__m256i)first_lanes(count).v)));
#else
    alignas(64) float part[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) part[i] = p[i];
    return Vec::load(part);
#endif
}

ISTHMUS_INLINE void store_part(Vec x, float* p, std::int64_t count) {
    if (count >= kLanes) return x.store(p);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << count) - 1U), (__m512)x.v);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(p, (__m256i)first_lanes(count).v, (__m256)x.v);
#else
    alignas(64) float part[kLanes];
    x.store(part);
    for (std::int64_t i = 0; i < count; ++i) p[i] = part[i];
#endif
}

// In double, as a tree: the upper half of the lanes onto the lower, until one is left.
ISTHMUS_INLINE double sum_lanes(Vec x) {
    using Doubles = double __attribute__((vector_size(kLanes * 4)));
#if defined(__AVX512F__)
    // GCC 12 converts eight floats by halves.
    const auto low = (__m256)__builtin_shufflevector(x.v, x.v, 0, 1, 2, 3, 4, 5, 6, 7);
    const auto high = (__m256)__builtin_shufflevector(x.v, x.v, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto eight = (Doubles)_mm512_maskz_cvtps_pd(0xff, low) + (Doubles)_mm512_maskz_cvtps_pd(0xff, high);
    const auto four =
        __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#elif defined(__AVX2__)
    const Doubles four = __builtin_convertvector(__builtin_shufflevector(x.v, x.v, 0, 1, 2, 3), Doubles) +
                         __builtin_convertvector(__builtin_shufflevector(x.v, x.v, 4, 5, 6, 7), Doubles);
#endif
#if defined(__AVX2__)
    const auto two = __builtin_shufflevector(four, four, 0, 1) + __builtin_shufflevector(four, four, 2, 3);
#else
    const Doubles two = __builtin_convertvector(__builtin_shufflevector(x.v, x.v, 0, 1), Doubles) +
                        __builtin_convertvector(__builtin_shufflevector(x.v, x.v, 2, 3), Doubles);
#endif
    return two[0] + two[1];
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
