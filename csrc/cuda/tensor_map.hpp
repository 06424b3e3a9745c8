// SPDX-License-Identifier: Apache-2.0
// Matrices as the tensor memory accelerator takes them. The function of the driver that writes a map is found at run
// time, so that the library is linked with no driver.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda/planes.hpp"

namespace isthmus::cuda {

// A map of one plane of (rows, cols), copied in boxes of (box_rows, 64) with a swizzle of 128 bytes. Error(runtime)
// where the driver knows no maps or refuses this one.
CUtensorMap tensor_map(const Planes& planes, int plane, std::int64_t rows, std::int64_t cols, int box_rows);

}  // namespace isthmus::cuda
