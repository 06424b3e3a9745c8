// SPDX-License-Identifier: Apache-2.0
// Seconds on a clock that nobody sets.
#pragma once

#include <chrono>

namespace isthmus {

class Stopwatch {
public:
    // Since the last lap, or since the beginning.
    double lap() {
        const Clock::time_point now = Clock::now();
        const double seconds = std::chrono::duration<double>(now - last_).count();
        last_ = now;
        return seconds;
    }
    // The same, without beginning anew.
    double seconds() const { return std::chrono::duration<double>(Clock::now() - last_).count(); }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point last_ = Clock::now();
};

}  // namespace isthmus
