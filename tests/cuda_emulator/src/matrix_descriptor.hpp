// SPDX-License-Identifier: Apache-2.0
// Where the elements of a matrix stand that wgmma reads from shared memory.
#pragma once

#include <array>
#include <cstdint>

#include "cuda_emulator/device.hpp"

namespace cuda_emulator {

inline constexpr int kDepth = 16;  // of k in one product of bfloat16

// The (size, 16) matrix that a descriptor stands for, K-major, or MN-major where it is transposed.
void read_matrix(std::uint64_t descriptor, bool transposed, int size,
                 std::array<std::array<float, kDepth>, 256>& values, Site where);

}  // namespace cuda_emulator
