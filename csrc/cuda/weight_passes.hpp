// SPDX-License-Identifier: Apache-2.0
// How a product of a block's rows with a weight is cut into tiles of the weight and of threads.
#pragma once

#include <cstdint>

#include "cuda/plan.hpp"
#include "cuda/row_blocks_layout.hpp"

namespace isthmus::cuda {

inline constexpr std::int64_t kWidestRow = 4096;  // of which blocks take a few: beyond that products fill the device
inline constexpr double kBytesACycle = 64;        // from L2 to one multiprocessor, on paper

// Places the ring behind so many floats. False where there is too little left of shared memory.
bool add_ring(RowBlockLayout& to, std::int64_t floats, const Limits& limits);

// Adds the pass forward through layer l, or back; its rows, layers and ring are there. Returns cycles, on paper.
double add_weight_pass(RowBlockLayout& to, int l, bool forward);

}  // namespace isthmus::cuda
