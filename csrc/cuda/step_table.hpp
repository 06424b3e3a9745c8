// SPDX-License-Identifier: Apache-2.0
// What differs from one step to the next and is known beforehand, on the device: a kernel finds its step's by the
// counters of Progress, so that the same launch serves every step.
#pragma once

#include <cstdint>

#include "cuda/progress.hpp"
#include "math/host_device.hpp"
#include "math/optimizers.hpp"

namespace isthmus::cuda {

// What a step's update needs besides the gradient; 0 in `updates` where its rows weigh nothing.
struct alignas(16) StepConstants {
    math::UpdateConstants update;
    float scale;  // 1 / the sum of the rows' weights
    float updates;
};
static_assert(sizeof(StepConstants) == 48, "three float4");

// A window of `steps` steps of the range, a power of two, that begins at a multiple of it. Without progress there is
// one step.
struct StepTable {
    Progress* progress = nullptr;
    std::uint32_t steps = 1;
    const StepConstants* constants = nullptr;

    ISTHMUS_HD std::uint32_t slot(std::int64_t step) const { return static_cast<std::uint32_t>(step) & (steps - 1); }
    // Places in the table of the step whose rows are under way, and of the one that is updated.
    ISTHMUS_HD std::uint32_t under_way() const { return progress == nullptr ? 0 : slot(progress->step); }
    ISTHMUS_HD std::uint32_t updating() const { return progress == nullptr ? 0 : slot(progress->updating); }

    bool operator==(const StepTable&) const = default;
};

}  // namespace isthmus::cuda
