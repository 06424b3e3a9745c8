// SPDX-License-Identifier: Apache-2.0
// Ctrl-C while the core trains: between two steps, at most every 50 ms, the calling thread takes the GIL back and lets
// Python run its signal handlers. What a handler raises stops the training; the step just done is whole.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>

#include "device/contract.hpp"

namespace isthmus::bindings {

class SignalPoll final : public Stop {
public:
    bool requested() override {
        const Clock::time_point now = Clock::now();
        if (now - last_ < kInterval) return false;
        last_ = now;
        const pybind11::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        return false;
    }

private:
    using Clock = std::chrono::steady_clock;
    // Half of the 100 ms within which Ctrl-C must be seen; the GIL may be busy for another 5 ms.
    static constexpr std::chrono::milliseconds kInterval{50};
    Clock::time_point last_ = Clock::now();
};

}  // namespace isthmus::bindings
