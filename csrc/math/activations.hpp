// SPDX-License-Identifier: Apache-2.0
// Every activation, once: y = forward(z), and dy/dz from y, or from z where needs_z says so.
//
// NaN goes through forward. Where a one-sided derivative must be chosen at 0: relu 0, leaky_relu 0.01, elu 1.
#pragma once

#include <string_view>

#include "isthmus/types.hpp"
#include "math/elementary.hpp"
#include "math/host_device.hpp"
#include "math/type_list.hpp"

namespace isthmus::math {

struct Linear {
    static constexpr Activation id = Activation::linear;
    static constexpr std::string_view name = "linear";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return z;
    }
    template <class T>
    ISTHMUS_HD static T derivative(T) {
        return T(1.0F);
    }
};

struct Relu {
    static constexpr Activation id = Activation::relu;
    static constexpr std::string_view name = "relu";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return max(T(0.0F), z);
    }
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return select(y > T(0.0F), T(1.0F), T(0.0F));
    }
};

struct LeakyRelu {
    static constexpr Activation id = Activation::leaky_relu;
    static constexpr std::string_view name = "leaky_relu";
    static constexpr bool needs_z = false;
    static constexpr float slope = 0.01F;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return max(z * T(slope), z);
    }
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return select(y > T(0.0F), T(1.0F), T(slope));
    }
};

// alpha = 1: e^z - 1 below 0, where the derivative e^z is y + 1.
struct Elu {
    static constexpr Activation id = Activation::elu;
    static constexpr std::string_view name = "elu";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return select(z > T(0.0F), z, expm1_of_nonpositive(min(T(0.0F), z)));
    }
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return min(T(0.0F), y) + T(1.0F);
    }
};

// z Phi(z) with the exact normal distribution function, Phi(-a) = erfc(a / sqrt(2)) / 2. Written with the tail, not
// with 1 + erf: down to z = -5.6 the relative error stays below 2e-5, where 1 + erf has no digit left. -inf gives 0.
struct Gelu {
    static constexpr Activation id = Activation::gelu;
    static constexpr std::string_view name = "gelu";
    static constexpr bool needs_z = true;

    // Phi(-a), a >= 0
    template <class T>
    ISTHMUS_HD static T tail(T a) {
        return T(0.5F) * exp_of_nonpositive(log_erfc(a * T(0.707106781F)));
    }
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        const T a = min(T(100.0F), abs(z));  // keeps inf * 0 away
        return fma(-a, tail(a), max(T(0.0F), z));
    }
    // Phi(z) + z phi(z)
    template <class T>
    ISTHMUS_HD static T derivative(T z) {
        const T a = min(T(100.0F), abs(z));
        const T upper = fma(a * T(0.398942280F), exp_of_nonpositive(T(-0.5F) * a * a), -tail(a));  // value at a, less 1
        return select(z < T(0.0F), -upper, T(1.0F) + upper);
    }
};

// z sigmoid(z); -inf gives 0.
struct Silu {
    static constexpr Activation id = Activation::silu;
    static constexpr std::string_view name = "silu";
    static constexpr bool needs_z = true;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return max(T(-200.0F), z) * sigmoid_from_exp(z, exp_of_nonpositive(minus_abs(z)));
    }
    // s (1 + z (1 - s)) with both s and 1 - s from one division, neither by subtraction.
    template <class T>
    ISTHMUS_HD static T derivative(T z) {
        const T e = exp_of_nonpositive(minus_abs(z));
        const T larger = reciprocal(T(1.0F) + e);
        const T smaller = e * larger;
        const auto negative = z < T(0.0F);
        const T s = select(negative, smaller, larger);
        const T bounded = max(T(-200.0F), min(T(200.0F), z));
        return s * fma(bounded, select(negative, larger, smaller), T(1.0F));
    }
};

struct Softplus {
    static constexpr Activation id = Activation::softplus;
    static constexpr std::string_view name = "softplus";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return softplus(z);
    }
    // sigmoid(z) = 1 - e^-y
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return -expm1_of_nonpositive(-y);
    }
};

struct Sigmoid {
    static constexpr Activation id = Activation::sigmoid;
    static constexpr std::string_view name = "sigmoid";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return sigmoid(z);
    }
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return fma(-y, y, y);
    }
};

struct Tanh {
    static constexpr Activation id = Activation::tanh;
    static constexpr std::string_view name = "tanh";
    static constexpr bool needs_z = false;
    template <class T>
    ISTHMUS_HD static T forward(T z) {
        return tanh(z);
    }
    template <class T>
    ISTHMUS_HD static T derivative(T y) {
        return fma(-y, y, T(1.0F));
    }
};

// In the order of the enum; the registry checks it.
using Activations = TypeList<Linear, Relu, LeakyRelu, Elu, Gelu, Silu, Softplus, Sigmoid, Tanh>;

}  // namespace isthmus::math
