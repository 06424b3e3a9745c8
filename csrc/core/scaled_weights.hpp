// SPDX-License-Identifier: Apache-2.0
// Samples whose largest weight is at least 1 and below 2. The loss does not depend on the scale of the weights, but
// float32 does: a device multiplies gradients by them, and reads denormals as 0. Powers of two keep every bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/passage.hpp"

namespace isthmus {

class ScaledWeights {
public:
    explicit ScaledWeights(const Samples& samples) : samples_(samples) {
        if (samples.weights == nullptr) return;
        const std::span<const float> weights(samples.weights, static_cast<std::size_t>(samples.rows()));
        const int exponent = std::ilogb(*std::ranges::max_element(weights));
        if (exponent == 0) return;
        scaled_.reserve(weights.size());
        for (const float weight : weights) scaled_.push_back(std::ldexp(weight, -exponent));
        samples_.weights = scaled_.data();
    }
    ScaledWeights(const ScaledWeights&) = delete;
    ScaledWeights& operator=(const ScaledWeights&) = delete;

    const Samples& samples() const { return samples_; }

private:
    Samples samples_;
    std::vector<float> scaled_;
};

}  // namespace isthmus
