// SPDX-License-Identifier: Apache-2.0
#include "core/schedule.hpp"

#include <cmath>
#include <numbers>

namespace isthmus {

double scheduled_rate(Schedule schedule, double learning_rate, const SchedulePoint& point) {
    const double done = static_cast<double>(point.step) / static_cast<double>(point.n_steps);
    switch (schedule) {
        case Schedule::constant: return learning_rate;
        case Schedule::cosine: return learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
        case Schedule::linear: return learning_rate * (1.0 - done);
        case Schedule::exponential:
            return learning_rate * std::pow(kExponentialDecay, static_cast<double>(point.epoch));
        case Schedule::plateau: return learning_rate * point.plateau_factor;
    }
    throw Error(ErrorKind::value, "learning_rate_schedule is none that is known");
}

bool watch(double loss, double min_delta, double& best, std::int64_t& wait) {
    const bool gain = loss < best - min_delta;
    if (gain) {
        best = loss;
        wait = 0;
    } else {
        ++wait;
    }
    return gain;
}

void watch_plateau(double loss, double& factor, double& best, std::int64_t& wait) {
    watch(loss, 0.0, best, wait);
    if (wait >= kPlateauPatience) {
        factor *= kPlateauDecay;
        wait = 0;
    }
}

}  // namespace isthmus
