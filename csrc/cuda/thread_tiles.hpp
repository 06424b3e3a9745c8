// SPDX-License-Identifier: Apache-2.0
// How the outputs of a product in shared memory are divided among the threads of a block.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/host_device.hpp"
#include "math/scalar.hpp"

namespace isthmus::cuda {

// Division by n of numbers below 2^16, n of that size too: one multiplication where a division takes 20 instructions.
struct Divisor {
    int n = 1;
    unsigned magic = 0;  // 2^32 / n, rounded up
    unsigned self = ~0U;

    Divisor() = default;
    explicit Divisor(int by)
        : n(by),
          magic(by == 1 ? 0 : static_cast<unsigned>(0xffffffffU / static_cast<unsigned>(by)) + 1),
          self(by == 1 ? ~0U : 0U) {}

    ISTHMUS_HD int quotient(int x) const {
        const auto u = static_cast<unsigned>(x);
        return static_cast<int>(math::mul_high(u, magic) + (u & self));
    }
};

ISTHMUS_HD int at_most(int limit, int n) { return n < limit ? n : limit; }

// Outputs of a product that a thread computes at a time, rows x columns. Each is one chain over k whatever the tile.
enum class ThreadTile : std::uint8_t { one, two_rows, five_rows, four_by_two };

struct TileShape {
    ThreadTile tile;
    int rows, cols;
};
inline constexpr TileShape kThreadTiles[] = {{ThreadTile::one, 1, 1},
                                             {ThreadTile::two_rows, 2, 1},
                                             {ThreadTile::five_rows, 5, 1},
                                             {ThreadTile::four_by_two, 4, 2}};

ISTHMUS_HD constexpr int quads(std::int64_t width) { return static_cast<int>((width + 3) / 4); }
// Of a matrix in shared memory: an odd number of float4, so that eight lanes that each read a float4 of a row of their
// own meet no bank twice.
inline constexpr int odd_stride(std::int64_t width) { return (quads(width) | 1) * 4; }
inline constexpr int rounded_up(int n, int by) { return (n + by - 1) / by; }

// Cycles, on paper, in which a multiprocessor takes four of k for so many threads with such tiles: four schedulers
// issue an instruction of a warp each, and shared memory gives one float4 to eight lanes, or to all the same. To be
// measured anew on a device; they change no bit.
inline int cycles_a_quad(const TileShape& tile, int threads) {
    const int warps = rounded_up(threads, 32);
    const int issued = rounded_up(warps, 4) * (tile.rows + tile.cols + 4 * tile.rows * tile.cols);
    const int read = warps * (tile.rows + 4 * tile.cols);
    constexpr int kChain = 16;  // four multiply-adds that wait for one another
    return std::max({issued, read, kChain});
}

inline constexpr double kCyclesAMicrosecond = 1700;

}  // namespace isthmus::cuda
