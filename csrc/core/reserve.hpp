// SPDX-License-Identifier: Apache-2.0
// Memory taken beforehand for calls that shall allocate none: the device's, and that for rows on their way to it. Its
// vectors keep their capacity, so that what a call resizes within the limit costs nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/passage.hpp"
#include "device/contract.hpp"

namespace isthmus {

struct Reserve {
    std::int64_t max_rows = 0;
    std::unique_ptr<Runner> runner;  // null: the device has none
    Converted converted;
    std::vector<float> reconstruction;
};

}  // namespace isthmus
