// SPDX-License-Identifier: Apache-2.0
// What the device remembers of a range of steps, so that the host need not be asked between them. The steps themselves
// advance the counters: a kernel that is launched again, in a graph, is then at the next step.
#pragma once

#include <cstdint>

#include "math/host_device.hpp"

namespace isthmus::cuda {

struct Progress {
    static constexpr std::int64_t kNone = INT64_MAX;

    double loss_sum = 0.0;     // of the steps before the one under way, added in their order
    double step_loss = 0.0;    // of the one under way; joins loss_sum when the next begins
    double penalty_sum = 0.0;  // likewise
    double step_penalty = 0.0;
    // Steps of the range, from 0. The one whose rows are under way, until its loss is known; and the one whose gradient
    // the update takes, kNone where there is none.
    std::int64_t step = 0;
    std::int64_t updating = 0;
    // The first step whose loss is not finite, and the first after which a parameter is not. The update reads the one
    // and writes the other: its blocks run side by side.
    std::int64_t diverged = kNone;
    unsigned long long overflowed = kNone;
    float clip_factor = 1.0F;       // what the gradient is multiplied by, besides its mean
    unsigned blocks_arrived = 0;    // of the kernel that is running: the last one to finish adds up
    std::uint32_t noise_epoch = 0;  // Noise::epoch of the range

    // Adds the penalty of rows of the step under way, before their loss.
    ISTHMUS_HD void add_penalty(double sum, bool first) {
        if (first) penalty_sum += step_penalty;
        step_penalty = first ? sum : step_penalty + sum;
    }

    // Adds the loss of rows of the step under way, the first or the last of it. Then that step is done, or has
    // diverged.
    ISTHMUS_HD void add_loss(double sum, bool first, bool last) {
        if (first) loss_sum += step_loss;
        step_loss = first ? sum : step_loss + sum;
        if (!last) return;
        if ((step_loss + step_penalty) * 0.0 == 0.0) {
            ++step;
        } else {
            diverged = step;
        }
    }

    // The step at which the range ends; from then on nothing changes the sums, the counters nor the two steps above.
    ISTHMUS_HD std::int64_t first_diverged() const {
        const auto after = static_cast<std::int64_t>(overflowed);
        return diverged < after ? diverged : after;
    }
};

}  // namespace isthmus::cuda
