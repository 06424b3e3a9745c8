// SPDX-License-Identifier: Apache-2.0
// Which units of a code are the k largest, by integers alone: the same answer on every machine, in 32 counts over the
// units whatever k is and however many there are.
#pragma once

#include <cstdint>

#include "math/host_device.hpp"
#include "math/scalar.hpp"

namespace isthmus::math {

// An integer for each float, larger for larger and equal for equal (0 and -0 too); the largest of all for NaN.
ISTHMUS_HD std::int32_t order_key(float x) {
    const std::int32_t b = bits(x + 0.0F);  // -0 becomes 0
    return x == x ? b ^ ((b >> 31) & INT32_MAX) : INT32_MAX;
}

// Finds the k-th largest of some keys, bit by bit from the highest:
//
//     for (KthLargest kth; kth.searching();) kth.answer(number of keys of at least kth.candidate() >= k);
class KthLargest {
public:
    ISTHMUS_HD bool searching() const { return bit_ != 0; }
    ISTHMUS_HD std::int32_t candidate() const { return static_cast<std::int32_t>(found_ + bit_); }
    ISTHMUS_HD void answer(bool as_many) {
        if (as_many) found_ += bit_;
        bit_ >>= 1;
    }
    // Keys above it are kept, and of those that equal it the first, until there are k.
    ISTHMUS_HD std::int32_t key() const { return static_cast<std::int32_t>(found_); }

private:
    std::uint32_t found_ = 0x80000000U;  // INT32_MIN: all keys are at least that
    std::uint32_t bit_ = 0x80000000U;    // added to it: 0
};

}  // namespace isthmus::math
