// SPDX-License-Identifier: Apache-2.0
// What the device remembers of a range of steps, so that the host need not be asked between them.
#pragma once

#include <cstdint>

namespace isthmus::cuda {

struct Progress {
    static constexpr std::int64_t kNone = INT64_MAX;

    double loss_sum = 0.0;          // of the steps before the one under way, added in their order
    double step_loss = 0.0;         // of the one under way; joins loss_sum when the next begins
    std::int64_t diverged = kNone;  // the first step of the range whose loss, or a parameter after it, is not finite:
                                    // from then on nothing changes the state nor this
    float clip_factor = 1.0F;       // what the gradient is multiplied by, besides its mean
    unsigned blocks_arrived = 0;    // of the kernel that is running: the last one to finish adds up
};

}  // namespace isthmus::cuda
