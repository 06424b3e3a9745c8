// SPDX-License-Identifier: Apache-2.0
// Normal numbers that somebody asked to be drawn: the same on every device, for any partition of the rows.
#pragma once

#include <cstdint>

#include "isthmus/types.hpp"

namespace isthmus {

// code (rows, c): row r is a function of the seed and of first_row + r. `parameters` (rows, 2 c) has each unit's mean
// and, c columns on, the logarithm of its variance; without rows these are 0.
void draw_gaussian_codes(MatrixView parameters, std::uint64_t seed, std::int64_t first_row, MutableMatrixView code);

}  // namespace isthmus
