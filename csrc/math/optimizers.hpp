// SPDX-License-Identifier: Apache-2.0
// Every optimizer, once: the update of one parameter. What depends on the step alone is worked out on the host in
// double, so that an element costs at most one division and one square root.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "isthmus/types.hpp"
#include "math/elementary.hpp"
#include "math/host_device.hpp"
#include "math/type_list.hpp"

namespace isthmus::math {

struct UpdateConstants {
    float step_size;            // lr / (1 - beta_1^t); sgd: lr
    float inverse_sqrt_bias_2;  // 1 / sqrt(1 - beta_2^t)
    float beta_1;
    float one_minus_beta_1;
    float beta_2;
    float one_minus_beta_2;
    float epsilon;
    float momentum;
    float weight_decay;  // adam, sgd: added to the gradient times the parameter
    float shrink;        // adamw: 1 - lr weight_decay
};

// t, the number of the step, counts from 1.
ISTHMUS_HOST UpdateConstants make_constants(Optimizer optimizer, double learning_rate, double beta_1, double beta_2,
                                            double epsilon, double momentum, double weight_decay, std::int64_t t) {
    const double bias_1 = 1.0 - std::pow(beta_1, static_cast<double>(t));
    const double bias_2 = 1.0 - std::pow(beta_2, static_cast<double>(t));
    UpdateConstants c;
    c.step_size = static_cast<float>(optimizer == Optimizer::sgd ? learning_rate : learning_rate / bias_1);
    c.inverse_sqrt_bias_2 = static_cast<float>(1.0 / std::sqrt(bias_2));
    c.beta_1 = static_cast<float>(beta_1);
    c.one_minus_beta_1 = static_cast<float>(1.0 - beta_1);
    c.beta_2 = static_cast<float>(beta_2);
    c.one_minus_beta_2 = static_cast<float>(1.0 - beta_2);
    c.epsilon = static_cast<float>(epsilon);
    c.momentum = static_cast<float>(momentum);
    c.weight_decay = static_cast<float>(weight_decay);
    c.shrink = static_cast<float>(1.0 - learning_rate * weight_decay);
    return c;
}

// The step of Adam for a gradient g: moves the moments and returns what is subtracted from the parameter.
template <class T>
ISTHMUS_HD T adam_step(const UpdateConstants& c, T g, T& m, T& v) {
    m = fma(T(c.beta_1), m, T(c.one_minus_beta_1) * g);
    v = fma(T(c.beta_2), v, T(c.one_minus_beta_2) * g * g);
    const T length = fma(root(v), T(c.inverse_sqrt_bias_2), T(c.epsilon));
    return divide(T(c.step_size) * m, min(T(3.402823466e38F), length));  // a step of 0 where v is infinite
}

// As in its paper: param -= lr m-hat / (sqrt(v-hat) + epsilon). Weight decay is added to the gradient.
struct Adam {
    static constexpr Optimizer id = Optimizer::adam;
    static constexpr std::string_view name = "adam";
    static constexpr bool uses_m = true;
    static constexpr bool uses_v = true;
    template <class T>
    ISTHMUS_HD static void update(const UpdateConstants& c, T& param, T gradient, T& m, T& v) {
        param = param - adam_step(c, fma(T(c.weight_decay), param, gradient), m, v);
    }
};

// Adam with the decay kept out of the moments: param *= 1 - lr weight_decay, then the same step.
struct AdamW {
    static constexpr Optimizer id = Optimizer::adamw;
    static constexpr std::string_view name = "adamw";
    static constexpr bool uses_m = true;
    static constexpr bool uses_v = true;
    template <class T>
    ISTHMUS_HD static void update(const UpdateConstants& c, T& param, T gradient, T& m, T& v) {
        param = fma(T(c.shrink), param, -adam_step(c, gradient, m, v));
    }
};

// As in PyTorch, no dampening: m <- momentum m + gradient; param -= lr m. Weight decay is added to the gradient.
struct Sgd {
    static constexpr Optimizer id = Optimizer::sgd;
    static constexpr std::string_view name = "sgd";
    static constexpr bool uses_m = true;
    static constexpr bool uses_v = false;
    template <class T>
    ISTHMUS_HD static void update(const UpdateConstants& c, T& param, T gradient, T& m, T& /*v*/) {
        m = fma(T(c.momentum), m, fma(T(c.weight_decay), param, gradient));
        param = fma(T(-c.step_size), m, param);
    }
};

// In the order of the enum; the registry checks it.
using Optimizers = TypeList<Adam, AdamW, Sgd>;

}  // namespace isthmus::math
