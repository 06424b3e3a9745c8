// SPDX-License-Identifier: Apache-2.0
// The floating-point mode that kernels run in, for the calling thread and for the life of this object: round to
// nearest, denormals as zero (an assist of some 150 cycles otherwise; the tutorial's network loses 6 to 10 % to them).
// Around it, what is no kernel keeps denormals, but must round to nearest, too: with any other rounding the text 0.001
// is read as another number than the one that was written. The caller's mode and flags come back as they were.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace isthmus::cpu {

enum class Denormals : std::uint8_t { zero, kept };

class FloatingPointScope {
public:
#if defined(__x86_64__)
    explicit FloatingPointScope(Denormals denormals = Denormals::zero) : saved_(_mm_getcsr()) {
        _mm_setcsr(0x1f80U | (denormals == Denormals::zero ? 0x8000U | 0x0040U : 0U));  // masked | FTZ | DAZ
    }
    ~FloatingPointScope() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
#elif defined(__aarch64__)
    explicit FloatingPointScope(Denormals denormals = Denormals::zero) {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" : : "r"(denormals == Denormals::zero ? std::uint64_t{1} << 24 : std::uint64_t{0}));
    }
    ~FloatingPointScope() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

private:
    std::uint64_t saved_;
#else
    explicit FloatingPointScope(Denormals = Denormals::zero) {}
#endif

public:
    FloatingPointScope(const FloatingPointScope&) = delete;
    FloatingPointScope& operator=(const FloatingPointScope&) = delete;
};

}  // namespace isthmus::cpu
