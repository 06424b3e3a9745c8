// SPDX-License-Identifier: Apache-2.0
// Rows that others left in device memory: converted, and searched for what is not allowed.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/memory.hpp"

namespace isthmus::cuda {

// Where a search ends: the number of an element, row * cols + col. kNowhere must be there before the first search.
using FoundAt = unsigned long long;
inline constexpr FoundAt kNowhere = ~0ULL;

// *found = the lesser of what is there and the number of the first value that is not within [low, high].
struct SearchArgs {
    const float* rows;
    std::int64_t n, cols, stride;
    float low, high;
    FoundAt* found;
};
void search(const SearchArgs& args, cudaStream_t stream);

// to (rows, stride) = the elements as float32, with zeros after the last column; *found as in `search`, for values that
// are not finite as float32. Or, with `wide`, as float64, and nothing is searched for.
struct ConvertArgs {
    Elements from;
    float* to;
    std::int64_t stride;
    FoundAt* found;
    double* wide;
};
void convert(const ConvertArgs& args, cudaStream_t stream);

// to[i] = -from[i]
void negate(const double* from, double* to, std::int64_t n, cudaStream_t stream);

}  // namespace isthmus::cuda
