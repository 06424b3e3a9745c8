// SPDX-License-Identifier: Apache-2.0
// One unit of a variational code (Kingma and Welling, "Auto-encoding variational Bayes", 2014): drawn from a normal
// distribution with this mean and log variance by way of eps, which is standard normal, so that it has derivatives.
#pragma once

#include "math/elementary.hpp"
#include "math/host_device.hpp"

namespace isthmus::math {

struct GaussianCode {
    template <class T>
    ISTHMUS_HD static T draw(T mean, T log_variance, T eps) {
        return fma(exp(T(0.5F) * log_variance), eps, mean);
    }

    // KL(N(mean, variance) || N(0, 1)) = (mean^2 + variance - 1 - log variance) / 2
    template <class T>
    ISTHMUS_HD static T divergence(T mean, T log_variance) {
        return T(0.5F) * fma(mean, mean, expm1(log_variance) - log_variance);
    }

    // Of a loss with derivative dcode by the code, plus scale times the divergence.
    template <class T>
    ISTHMUS_HD static void gradient(T mean, T log_variance, T eps, T dcode, T scale, T& dmean, T& dlog_variance) {
        dmean = fma(scale, mean, dcode);
        dlog_variance = T(0.5F) * fma(dcode * eps, exp(T(0.5F) * log_variance), scale * expm1(log_variance));
    }
};

}  // namespace isthmus::math
