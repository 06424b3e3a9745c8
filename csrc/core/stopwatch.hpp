// SPDX-License-Identifier: Apache-2.0
// Seconds on a clock that nobody sets.
#pragma once

#include <chrono>

namespace isthmus {

class Stopwatch {
public:
    // Since the last call, or since the beginning.
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        const double seconds = std::chrono::duration<double>(now - last_).count();
        last_ = now;
        return seconds;
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace isthmus
