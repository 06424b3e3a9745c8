// SPDX-License-Identifier: Apache-2.0
// Places in the shared memory of a block, in floats, handed out one after another.
#pragma once

#include <algorithm>
#include <cstdint>

namespace isthmus::cuda {

class Places {
public:
    // n floats, from a multiple of 16 bytes on.
    int take(std::int64_t n) {
        const std::int64_t at = next_;
        next_ += (n + 3) / 4 * 4;
        return static_cast<int>(std::min<std::int64_t>(at, INT32_MAX));
    }
    std::int64_t floats() const { return next_; }

private:
    std::int64_t next_ = 0;
};

}  // namespace isthmus::cuda
