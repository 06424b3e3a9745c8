// SPDX-License-Identifier: Apache-2.0
// Which device a name stands for: the one place that knows them all.
#pragma once

#include <string>

#include "device/contract.hpp"

namespace isthmus {

// "cpu", "cuda", "cuda:N", or "auto": the first GPU if there is one that can be opened, else the CPU; the only name
// that falls back. Throws Error(value) for what is no name, Error(runtime) for a device that is not here, with what is.
const Device& device_named(const std::string& name);

// Where a model was asked to be, and where it is.
struct Placement {
    // `on`, unless it is empty, names the device that "auto" takes: the one where the rows are.
    Placement(const std::string& device_name, int threads, const std::string& on = "")
        : asked(device_name), device(device_named(on.empty() ? device_name : on)), n_threads(threads) {}

    std::string asked;
    const Device& device;
    int n_threads;
};

}  // namespace isthmus
