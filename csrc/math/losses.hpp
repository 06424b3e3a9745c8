// SPDX-License-Identifier: Apache-2.0
// Every loss, once: the value of one element and its derivative by the output y, computed together; the mean is the
// caller's. Where from_logits is set, y is the value before the sigmoid. NaN goes through both.
#pragma once

#include <string_view>

#include "isthmus/types.hpp"
#include "math/elementary.hpp"
#include "math/host_device.hpp"
#include "math/type_list.hpp"

namespace isthmus::math {

struct Mse {
    static constexpr Loss id = Loss::mse;
    static constexpr std::string_view name = "mse";
    static constexpr bool from_logits = false;
    template <class T>
    ISTHMUS_HD static void evaluate(T y, T target, T& value, T& gradient) {
        const T d = y - target;
        value = d * d;
        gradient = d + d;
    }
};

// -(t log p + (1 - t) log(1 - p)) with p = sigmoid(z), as max(z, 0) - z t + log(1 + e^-|z|); gradient p - t.
struct Bce {
    static constexpr Loss id = Loss::bce;
    static constexpr std::string_view name = "bce";
    static constexpr bool from_logits = true;
    template <class T>
    ISTHMUS_HD static void evaluate(T z, T target, T& value, T& gradient) {
        const T e = exp_of_nonpositive(minus_abs(z));
        value = fma(-z, target, max(T(0.0F), z)) + log1p_of_unit(e);
        gradient = sigmoid_from_exp(z, e) - target;
    }
};

// The gradient at 0 is 0.
struct Mae {
    static constexpr Loss id = Loss::mae;
    static constexpr std::string_view name = "mae";
    static constexpr bool from_logits = false;
    template <class T>
    ISTHMUS_HD static void evaluate(T y, T target, T& value, T& gradient) {
        const T d = y - target;
        value = abs(d);
        gradient = select(d > T(0.0F), T(1.0F), select(d < T(0.0F), T(-1.0F), d));
    }
};

// delta = 1: d^2 / 2 within 1, |d| - 1/2 beyond; both are c (|d| - c / 2) with c = min(|d|, 1).
struct Huber {
    static constexpr Loss id = Loss::huber;
    static constexpr std::string_view name = "huber";
    static constexpr bool from_logits = false;
    template <class T>
    ISTHMUS_HD static void evaluate(T y, T target, T& value, T& gradient) {
        const T d = y - target;
        const T a = abs(d);
        const T c = min(T(1.0F), a);
        value = c * fma(T(-0.5F), c, a);
        gradient = max(T(-1.0F), min(T(1.0F), d));
    }
};

// In the order of the enum; the registry checks it.
using Losses = TypeList<Mse, Bce, Mae, Huber>;

}  // namespace isthmus::math
