// SPDX-License-Identifier: Apache-2.0
// The elementary functions with their references in double and the error that each may have, in ULP.
//
// The error is |y - exact| in units of the last place of a float at `exact`; an infinity counts as 2^128. Where |exact|
// is below FLT_MIN any result from 0 to FLT_MIN will do, since the kernels run with denormals flushed.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "math/elementary.hpp"
#include "math/type_list.hpp"

namespace ulp {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 1 / ULP of a normal float at x, by the exponent's bits: 2^(23 - e).
inline double units(double x) {
    const std::uint64_t exponent = std::bit_cast<std::uint64_t>(x) >> 52 & 0x7ff;
    return std::bit_cast<double>((2 * 1023 + 23 - exponent) << 52);
}

inline double error(float y, double exact) {
    if (std::isnan(y) || std::isnan(exact)) return std::isnan(y) && std::isnan(exact) ? 0.0 : kInfinity;
    const auto bounded = [](double x) { return std::clamp(x, -0x1p128, 0x1p128); };
    const double difference = std::fabs(bounded(static_cast<double>(y)) - bounded(exact));
    const double magnitude = std::fabs(exact);
    if (magnitude < 0x1p-126) {
        const bool opposite = y != 0.0F && std::signbit(y) != std::signbit(exact);
        return !opposite && std::fabs(y) <= 0x1p-126F ? 0.0 : difference * 0x1p149;
    }
    return difference * units(std::min(magnitude, 0x1p127));
}

// low and high bound the argument; `nan` says that a NaN must come out as one. The bounds are the largest errors over
// all floats, rounded up: `fused` where a fused multiply-add rounds once, `unfused` on the x86-64 baseline, which
// rounds twice.
struct Everywhere {
    static constexpr float low = -std::numeric_limits<float>::infinity();
    static constexpr float high = std::numeric_limits<float>::infinity();
    static constexpr bool nan = true;
};

#define ISTHMUS_ULP_FUNCTION(NAME)             \
    static constexpr const char* name = #NAME; \
    template <class T>                         \
    ISTHMUS_HD static T compute(T x) {         \
        return isthmus::math::NAME(x);         \
    }

struct Exp : Everywhere {
    ISTHMUS_ULP_FUNCTION(exp)
    static constexpr double fused = 1.04, unfused = 1.01;
    static double reference(double x) { return std::exp(x); }
};

struct ExpOfNonpositive {
    ISTHMUS_ULP_FUNCTION(exp_of_nonpositive)
    static constexpr float low = -std::numeric_limits<float>::infinity(), high = 0.0F;
    static constexpr bool nan = true;
    static constexpr double fused = 1.04, unfused = 1.01;
    static double reference(double x) { return std::exp(x); }
};

struct Expm1 : Everywhere {
    ISTHMUS_ULP_FUNCTION(expm1)
    static constexpr double fused = 1.54, unfused = 1.66;
    static double reference(double x) { return std::expm1(x); }
};

struct Expm1OfNonpositive {
    ISTHMUS_ULP_FUNCTION(expm1_of_nonpositive)
    static constexpr float low = -std::numeric_limits<float>::infinity(), high = 0.0F;
    static constexpr bool nan = true;
    static constexpr double fused = 0.95, unfused = 1.04;
    static double reference(double x) { return std::expm1(x); }
};

struct Log : Everywhere {
    ISTHMUS_ULP_FUNCTION(log)
    static constexpr double fused = 1.01, unfused = 1.01;
    static double reference(double x) { return std::log(x); }
};

struct LogOfNormal {
    ISTHMUS_ULP_FUNCTION(log_of_normal)
    static constexpr float low = std::numeric_limits<float>::min(), high = std::numeric_limits<float>::max();
    static constexpr bool nan = false;
    static constexpr double fused = 0.90, unfused = 0.90;
    static double reference(double x) { return std::log(x); }
};

struct Log1p : Everywhere {
    ISTHMUS_ULP_FUNCTION(log1p)
    static constexpr double fused = 1.52, unfused = 1.52;
    static double reference(double x) { return std::log1p(x); }
};

struct Log1pOfUnit {
    ISTHMUS_ULP_FUNCTION(log1p_of_unit)
    static constexpr float low = 0.0F, high = 1.0F;
    static constexpr bool nan = true;
    static constexpr double fused = 1.24, unfused = 1.64;
    static double reference(double x) { return std::log1p(x); }
};

struct Sigmoid : Everywhere {
    ISTHMUS_ULP_FUNCTION(sigmoid)
    static constexpr double fused = 2.49, unfused = 2.49;
    static double reference(double x) {
        const double e = std::exp(-std::fabs(x));
        return (x < 0 ? e : 1.0) / (1.0 + e);
    }
};

struct Softplus : Everywhere {
    ISTHMUS_ULP_FUNCTION(softplus)
    static constexpr double fused = 1.87, unfused = 2.28;
    static double reference(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
};

struct Tanh : Everywhere {
    ISTHMUS_ULP_FUNCTION(tanh)
    static constexpr double fused = 2.50, unfused = 2.50;
    static double reference(double x) { return std::tanh(x); }
};

struct Erf : Everywhere {
    ISTHMUS_ULP_FUNCTION(erf)
    static constexpr double fused = 1.84, unfused = 2.16;
    static double reference(double x) { return std::erf(x); }
};
#undef ISTHMUS_ULP_FUNCTION

using Functions = isthmus::math::TypeList<Exp, ExpOfNonpositive, Expm1, Expm1OfNonpositive, Log, LogOfNormal, Log1p,
                                          Log1pOfUnit, Sigmoid, Softplus, Tanh, Erf>;

template <class... Fs, class Visitor>
void for_each(isthmus::math::TypeList<Fs...>, Visitor&& visitor) {
    (visitor(Fs{}), ...);
}

}  // namespace ulp
