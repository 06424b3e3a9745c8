// SPDX-License-Identifier: Apache-2.0
// The learning rate of one step: a pure function of where the step stands, so that a range can be repeated. And what
// watches a loss from epoch to epoch, for the plateau schedule and for early stopping.
#pragma once

#include <cstdint>

#include "isthmus/types.hpp"

namespace isthmus {

struct SchedulePoint {
    std::int64_t step = 0;     // from 0, since the fit began
    std::int64_t n_steps = 1;  // of the whole fit
    std::int64_t epoch = 0;    // from 0, since the fit began
    double plateau_factor = 1.0;
};

// constant: lr; cosine: lr (1 + cos(pi step / n_steps)) / 2; linear: lr (1 - step / n_steps);
// exponential: lr 0.95^epoch; plateau: lr plateau_factor.
double scheduled_rate(Schedule schedule, double learning_rate, const SchedulePoint& point);

inline constexpr double kExponentialDecay = 0.95;
inline constexpr double kPlateauDecay = 0.5;
inline constexpr std::int64_t kPlateauPatience = 5;

// A gain is a loss below best - min_delta; it becomes the best, and the wait starts anew. Returns whether it was one.
// A NaN never is.
bool watch(double loss, double min_delta, double& best, std::int64_t& wait);

// After kPlateauPatience epochs without gain: factor *= kPlateauDecay, and the wait starts anew.
void watch_plateau(double loss, double& factor, double& best, std::int64_t& wait);

}  // namespace isthmus
