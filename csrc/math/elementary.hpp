// SPDX-License-Identifier: Apache-2.0
// The elementary functions: no branch on data, no table, no call of libm, so that one text serves a vector of floats, a
// CUDA thread and a plain float, with the same bits wherever the fused multiply-add rounds once.
//
// NaN goes through every function. Results below FLT_MIN may be 0. Polynomials are minimax fits over the stated range,
// the coefficients rounded one after another with the rest fitted again; "error 2^-26" is the largest relative error
// that the polynomial causes.
#pragma once

#include "math/host_device.hpp"
#include "math/scalar.hpp"

namespace isthmus::math {

// -|x|
template <class T>
ISTHMUS_HD T minus_abs(T x) {
    return from_bits(bits(x) | INT32_MIN);
}

// ---- exponential ------------------------------------------------------------------------------------------------

// x = n ln 2 + f with n the nearest integer, |f| <= ln(2) / 2: then e^x = 2^n (1 + fraction), fraction = e^f - 1.
template <class T>
struct ExpParts {
    T fraction;
    T exponent;  // n + 1.5 * 2^23 + bias: the low bits of its pattern are those of n + bias
};

// Of kTimes * x, the fraction divided by kTimes: a power of two, so that its place in the constants changes no bit and
// saves a multiplication. bias is at most 255 in size; n + bias must not be negative.
template <int kTimes = 1, class T>
ISTHMUS_HD ExpParts<T> exp_parts(T x, float bias) {
    constexpr float t = kTimes;
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the pattern.
    const T magic = T(12582912.0F + bias);
    const T exponent = fma(x, T(t * 1.44269504F), magic);
    const T n = exponent - magic;
    // ln 2 in two parts; the first has 9 bits, so that n times it is exact even without a fused multiply-add.
    T f = fma(n, T(-0.693359375F / t), x);
    f = fma(n, T(2.12194440e-4F / t), f);
    // (e^f - 1 - f) / f^2 on +-0.3467; error 2^-26 of e^f - 1.
    T q = fma(f, T(t * t * t * t * t * 1.38706574e-3F), T(t * t * t * t * 8.36626161e-3F));
    q = fma(f, q, T(t * t * t * 4.16674353e-2F));
    q = fma(f, q, T(t * t * 1.66665465e-1F));
    q = fma(f, q, T(t * 4.99999970e-1F));
    return {fma(f * f, q, f), exponent};
}

// 2^k from a float whose pattern ends in k + 127, in 0 .. 255; 0 for k = -127.
template <class T>
ISTHMUS_HD T power_of_two(T exponent) {
    return from_bits(bits(exponent) << 23);
}

// e^x for x <= 0: one clamp and no overflow to mind, which is all that sigmoid, softplus and their kin need.
template <class T>
ISTHMUS_HD T exp_of_nonpositive(T x) {
    const ExpParts<T> parts = exp_parts(max(T(-88.0F), x), 127.0F);
    const T scale = power_of_two(parts.exponent);
    return fma(scale, parts.fraction, scale);
}

// e^x - 1 for x <= 0.
template <class T>
ISTHMUS_HD T expm1_of_nonpositive(T x) {
    const ExpParts<T> parts = exp_parts(max(T(-88.0F), x), 127.0F);
    const T scale = power_of_two(parts.exponent);
    return fma(scale, parts.fraction, scale - T(1.0F));
}

// e^x. The power of two is applied in two halves, since 2^128 is no float but e^88.7 is.
template <class T>
ISTHMUS_HD T exp(T x) {
    const ExpParts<T> parts = exp_parts(max(T(-104.0F), min(T(89.0F), x)), 254.0F);
    const auto k = bits(parts.exponent);  // ends in n + 254
    const auto half = k >> 1;
    const T first = from_bits(half << 23);
    const T second = from_bits((k - half) << 23);
    return fma(first, parts.fraction, first) * second;
}

// e^x - 1. Half of it is computed, since 2^128 is no float; where x is small nothing is halved.
template <class T>
ISTHMUS_HD T expm1(T x) {
    const ExpParts<T> parts = exp_parts(max(T(-87.0F), min(T(89.0F), x)), 126.0F);
    const T half_scale = power_of_two(parts.exponent);
    const T half = fma(half_scale, parts.fraction, half_scale - T(0.5F));
    return select(abs(x) < T(0.25F), parts.fraction, half + half);
}

// ---- logarithm --------------------------------------------------------------------------------------------------
//
// The logarithm and the circle make the gaussian noise. They do without the fused multiply-add, which costs them 0.3
// ULP at most, and so have the same bits on every instruction set and on the GPU.

// n ln 2 + log(1 + f), f from sqrt(1/2) - 1 to sqrt(2) - 1.
template <class T>
ISTHMUS_HD T log_from_parts(T n, T f) {
    // (log(1 + f) - f) / f^2; error 2^-27.8 of log(1 + f).
    T p = multiply_then_add(f, T(-7.61904866e-2F), T(1.29129395e-1F));
    p = multiply_then_add(f, p, T(-1.32480681e-1F));
    p = multiply_then_add(f, p, T(1.41808540e-1F));
    p = multiply_then_add(f, p, T(-1.66084111e-1F));
    p = multiply_then_add(f, p, T(2.00020045e-1F));
    p = multiply_then_add(f, p, T(-2.50016093e-1F));
    p = multiply_then_add(f, p, T(3.33333254e-1F));
    p = multiply_then_add(f, p, T(-4.99999881e-1F));
    const T low = multiply_then_add(f * f, p, n * T(-2.12194440e-4F));
    return multiply_then_add(n, T(0.693359375F), f + low);
}

// log(x) for normal x > 0.
template <class T>
ISTHMUS_HD T log_of_normal(T x) {
    constexpr std::int32_t kSqrtHalf = 0x3f3504f3;
    const auto k = bits(x) - kSqrtHalf;
    const T m = from_bits((k & 0x007fffff) + kSqrtHalf);
    return log_from_parts(to_float(k >> 23), m - T(1.0F));
}

// log(x): -inf at 0, NaN below.
template <class T>
ISTHMUS_HD T log(T x) {
    const T infinity = T(__builtin_inff());
    const T smallest = T(0x1p-126F);
    const auto denormal = x < smallest;
    const T scaled = max(smallest, select(denormal, x * T(0x1p24F), x));
    const T y = log_of_normal(scaled) + select(denormal, T(-16.6355323F), T(0.0F));  // -24 ln 2
    const T edge = select(x == T(0.0F), -infinity, select(x == infinity, infinity, T(__builtin_nanf(""))));
    return select(x > T(0.0F), select(x < infinity, y, edge), edge);
}

// log(1 + x): -inf at -1, NaN below.
template <class T>
ISTHMUS_HD T log1p(T x) {
    const T infinity = T(__builtin_inff());
    constexpr std::int32_t kSqrtHalf = 0x3f3504f3;
    const T sum = max(T(0x1p-25F), T(1.0F) + x);
    const auto k = (bits(sum) - kSqrtHalf) & static_cast<std::int32_t>(0xff800000U);  // n << 23
    // f = 2^-n (1 + x) - 1 without rounding 1 + x: 2^-n x + (2^-n - 1), the power as 1/4 of 2^(2 - n), which is normal.
    const T f = from_bits(bits(x) - k) + fma(T(0.25F), from_bits(0x40800000 - k), T(-1.0F));
    const T y = log_from_parts(to_float(k >> 23), f);
    const T edge = select(x == T(-1.0F), -infinity, select(x == infinity, infinity, T(__builtin_nanf(""))));
    return select(x > T(-1.0F), select(x < infinity, y, edge), edge);
}

// log(1 + x) for x from 0 to 1.
template <class T>
ISTHMUS_HD T log1p_of_unit(T x) {
    // log(1 + x) / x; error 2^-27.5.
    T p = fma(x, T(-3.29046859e-3F), T(2.00862419e-2F));
    p = fma(x, p, T(-5.74572310e-2F));
    p = fma(x, p, T(1.06611282e-1F));
    p = fma(x, p, T(-1.53448805e-1F));
    p = fma(x, p, T(1.96921021e-1F));
    p = fma(x, p, T(-2.49580190e-1F));
    p = fma(x, p, T(3.33304644e-1F));
    p = fma(x, p, T(-4.99999315e-1F));
    return fma(x * x, p, x);
}

// ---- sigmoid and its kin ------------------------------------------------------------------------------------------

// 1 / (1 + e^-z) from e = e^-|z|, so that a loss that needs e itself has it computed once. Small results keep their
// relative accuracy.
template <class T>
ISTHMUS_HD T sigmoid_from_exp(T z, T e) {
    return divide(select(z < T(0.0F), e, T(1.0F)), T(1.0F) + e);
}

// The same without e to share: four operations fewer of 23. Below -87.3 it is 0 or 6e-39, which is no normal float.
template <class T>
ISTHMUS_HD T sigmoid(T z) {
    const ExpParts<T> parts = exp_parts(max(T(-87.0F), min(T(88.0F), -z)), 127.0F);
    const T scale = power_of_two(parts.exponent);
    return reciprocal(T(1.0F) + fma(scale, parts.fraction, scale));
}

// log(1 + e^z)
template <class T>
ISTHMUS_HD T softplus(T z) {
    return max(T(0.0F), z) + log1p_of_unit(exp_of_nonpositive(minus_abs(z)));
}

// m / (2 + m) with m = e^(-2 |x|) - 1, both sides halved.
template <class T>
ISTHMUS_HD T tanh(T x) {
    const ExpParts<T> parts = exp_parts<2>(max(T(-44.0F), minus_abs(x)), 127.0F);
    const T scale = power_of_two(parts.exponent);
    const T half = fma(scale, parts.fraction, fma(scale, T(0.5F), T(-0.5F)));
    return copysign(divide(half, T(1.0F) + half), x);
}

// ---- error function ---------------------------------------------------------------------------------------------

// log(1 - erf(a)) for a >= 0; absolute error 1e-5 up to a = 4, where erf rounds to 1, and falling on beyond.
template <class T>
ISTHMUS_HD T log_erfc(T a) {
    // log(1 - erf(a)) / a + 1 on 0 to 4; error 2^-27.7 of erf.
    T q = fma(a, T(-9.14731913e-7F), T(1.78197533e-5F));
    q = fma(a, q, T(-1.49667379e-4F));
    q = fma(a, q, T(6.94598595e-4F));
    q = fma(a, q, T(-1.73329632e-3F));
    q = fma(a, q, T(2.00361435e-4F));
    q = fma(a, q, T(1.91398971e-2F));
    q = fma(a, q, T(-1.02775581e-1F));
    q = fma(a, q, T(-6.36619568e-1F));
    q = fma(a, q, T(-1.28379166e-1F));
    return fma(a, q, -a);
}

template <class T>
ISTHMUS_HD T erf(T x) {
    return copysign(expm1_of_nonpositive(log_erfc(abs(x))), x);
}

// ---- circle -------------------------------------------------------------------------------------------------------

// sine and cosine of 2 pi u, u from 0 to 1.
template <class T>
ISTHMUS_HD void sincos_2pi(T u, T& sine, T& cosine) {
    const auto quadrant = to_int(multiply_then_add(u, T(4.0F), T(0.5F)));  // 0 .. 4
    const T r = multiply_then_add(to_float(quadrant), T(-0.25F), u);       // exact, |r| <= 1/8
    const T s = r * r;
    // sin(2 pi r) / r - 6, error 2^-27.5 of the sine; 6 r is exact.
    T p = multiply_then_add(s, T(-75.2667923F), T(81.5893860F));
    p = multiply_then_add(s, p, T(-41.3416443F));
    p = multiply_then_add(s, p, T(0.283185273F));
    const T sin_r = multiply_then_add(r, p, r * T(6.0F));
    // cos(2 pi r), error 2^-31.
    T q = multiply_then_add(s, T(58.6210594F), T(-85.4245224F));
    q = multiply_then_add(s, q, T(64.9391479F));
    q = multiply_then_add(s, q, T(-19.7392082F));
    const T cos_r = multiply_then_add(s, q, T(1.0F));
    // Odd quadrants swap the two; the sign bits are bit 1 of the quadrant, for the cosine of the quadrant + 1.
    const auto odd = 0 - (quadrant & 1);
    const auto sin_bits = bits(sin_r);
    const auto cos_bits = bits(cos_r);
    const auto swap = (sin_bits ^ cos_bits) & odd;
    sine = from_bits((sin_bits ^ swap) ^ ((quadrant & 2) << 30));
    cosine = from_bits((cos_bits ^ swap) ^ (((quadrant + 1) & 2) << 30));
}

}  // namespace isthmus::math
