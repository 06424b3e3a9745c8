// SPDX-License-Identifier: Apache-2.0
// Matrices for tensor cores: a float as the sum of one or three bfloat16, each the one nearest (ties to even) to what
// those before it leave. One plane is precision "bfloat16"; three keep float32's 24 bits.
#pragma once

#include <cstdint>

namespace isthmus::cuda {

// bits of a bfloat16
using Bfloat16 = std::uint16_t;

// Row r, column c of plane p is data[p * plane + r * stride + c]; rows begin at multiples of 16 bytes (stride is a
// multiple of 8), data too. What stands between the columns and the stride is never read into a result.
struct Planes {
    Bfloat16* data = nullptr;
    std::int64_t stride = 0;  // elements
    std::int64_t plane = 0;   // elements between planes, a multiple of 8
    int count = 1;            // 1 or 3
};

}  // namespace isthmus::cuda
