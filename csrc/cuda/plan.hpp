// SPDX-License-Identifier: Apache-2.0
// How a network is run on a device: pure functions of shapes and of what the device has, tested without one.
//
// Every output of a product is one chain of fused multiply-adds, or of tensor core steps, over ascending k whatever its
// tile, so a tile is free to depend on the rows: it never changes a bit. What can change bits depends on less: the
// parts of a weight gradient on its shape, the piece of a batch on widths and on the device's memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "isthmus/types.hpp"
#include "math/names.hpp"

namespace isthmus::cuda {

// Side of the square of outputs that a block of threads computes: 128, 64 or 32.
enum class TileSize : std::uint8_t { large, medium, small };

// What the products of layers are computed in. simt: float32, fused multiply-adds. The others take tensor cores, whose
// sums are float32: tf32 and bfloat16 round the operands; bf16x6 splits them into three bfloat16 each and multiplies
// six pairs of these, which is as accurate as float32.
enum class Arithmetic : std::uint8_t { simt, tf32, bfloat16, bf16x6 };

// Planes of an operand (planes.hpp); 0 where it stays float.
inline constexpr int plane_count(Arithmetic arithmetic) {
    return arithmetic == Arithmetic::bfloat16 ? 1 : arithmetic == Arithmetic::bf16x6 ? 3 : 0;
}

// How the steps of a range are run: see range_plan.hpp.
enum class PlanKind : std::uint8_t { one_block, two_kernels, layer_by_layer };

struct Limits {
    int multiprocessors = 0;
    std::int64_t memory = 0;                // of the device, in bytes
    std::optional<TileSize> tile = {};      // the same for every product, for tests and measurements
    std::int64_t shared_memory = 0;         // that a block of threads may have, in bytes
    std::optional<PlanKind> plan = {};      // of every range, likewise; Error(runtime) where it cannot be
    int compute_capability = 0;             // 80 is 8.0
    bool wgmma = false;                     // of compute capability 9.0, and this library has code for it
    Arithmetic float32 = Arithmetic::simt;  // what "float32" is computed in: simt, or bf16x6 for tests and measurements
};

// Throws Error(runtime) for what `device`, by its name, does not compute in.
inline void check_precision(Precision precision, const Limits& limits, const std::string& device) {
    constexpr int kTensorCores = 80;  // the first with mma of tf32 and bfloat16
    if (precision == Precision::float32 || limits.compute_capability >= kTensorCores) return;
    throw Error(ErrorKind::runtime, "precision is '" + std::string(math::name(precision)) +
                                        "', which takes a GPU of compute capability 8.0 or newer; " + device + " has " +
                                        std::to_string(limits.compute_capability / 10) + "." +
                                        std::to_string(limits.compute_capability % 10));
}

inline Arithmetic arithmetic_of(Precision precision, const Limits& limits) {
    switch (precision) {
        case Precision::float32: break;
        case Precision::tf32: return Arithmetic::tf32;
        case Precision::bfloat16: return Arithmetic::bfloat16;
    }
    return limits.float32;
}

inline constexpr std::int64_t side(TileSize tile) {
    return tile == TileSize::large ? 128 : tile == TileSize::medium ? 64 : 32;
}

// The largest tile of which a product (rows, cols) has one for each multiprocessor: a large tile reads shared memory
// least, but one that leaves multiprocessors idle is slower than several small ones.
inline TileSize tile_for(std::int64_t rows, std::int64_t cols, const Limits& limits) {
    if (limits.tile) return *limits.tile;
    for (const TileSize tile : {TileSize::large, TileSize::medium}) {
        const std::int64_t s = side(tile);
        if ((rows + s - 1) / s * ((cols + s - 1) / s) >= limits.multiprocessors) return tile;
    }
    return TileSize::small;
}

// The same of tensor cores, which a small tile feeds far worse: the tile whose blocks end first, one for each
// multiprocessor at a time, if outputs of the three tiles come at these rates. On paper; to be measured on a device.
inline TileSize tensor_core_tile(std::int64_t rows, std::int64_t cols, const Limits& limits) {
    if (limits.tile) return *limits.tile;
    constexpr std::pair<TileSize, double> kRates[] = {
        {TileSize::large, 1.0}, {TileSize::medium, 0.7}, {TileSize::small, 0.3}};
    TileSize best = TileSize::large;
    double least = 0.0;
    for (const auto& [tile, rate] : kRates) {
        const std::int64_t s = side(tile);
        const std::int64_t tiles = (rows + s - 1) / s * ((cols + s - 1) / s);
        const std::int64_t rounds = (tiles - 1) / std::max(limits.multiprocessors, 1) + 1;
        const double time = static_cast<double>(rounds * s * s) / rate;
        if (least == 0.0 || time < least) {
            least = time;
            best = tile;
        }
    }
    return best;
}

// A weight gradient (out, in) sums over all rows of a batch; where it is small, blocks sum parts of the rows apart and
// the last of them adds the parts in their order. The parts change bits, so they depend on the shape alone.
struct RowParts {
    std::int64_t count;
    std::int64_t rows;  // of every part but perhaps the last
};
inline constexpr std::int64_t kPartBlocks = 128;  // that a small gradient is divided into, tiles times parts
inline RowParts row_parts(std::int64_t rows, std::int64_t out, std::int64_t in) {
    constexpr std::int64_t kFewest = 64;  // rows worth a block of their own
    const std::int64_t s = side(TileSize::small);
    const std::int64_t tiles = (out + s - 1) / s * ((in + s - 1) / s);
    const std::int64_t count = std::max<std::int64_t>(1, std::min(kPartBlocks / tiles, rows / kFewest));
    const std::int64_t part = ((rows + count - 1) / count + 15) / 16 * 16;
    return {(rows + part - 1) / part, part};
}
// Floats that all parts of any gradient take, and those of its bias: (out, in) fills no more than its tiles.
inline constexpr std::int64_t kPartFloats = kPartBlocks * side(TileSize::small) * side(TileSize::small);
inline constexpr std::int64_t kBiasPartFloats = kPartBlocks * side(TileSize::small);

// Rows of a batch that are taken through the network at a time, the rest of it after them: activations take 1 GB at
// most, and a sixteenth of the device.
inline std::int64_t piece_rows(std::int64_t floats_a_row, const Limits& limits) {
    const std::int64_t floats = std::min(std::int64_t{1} << 28, limits.memory / 64);
    return std::max<std::int64_t>(32, floats / floats_a_row);
}

// Rows that go through at inference at a time: 4 MB of the widest matrix, which copies at full speed and leaves copies
// and products to overlap.
inline std::int64_t block_rows(std::int64_t widest_stride) {
    return std::clamp<std::int64_t>((std::int64_t{1} << 20) / widest_stride, 32, 65536);
}

// How many times as fast as fused multiply-adds, on paper; to be measured on a device.
inline constexpr double speed(Arithmetic arithmetic) {
    switch (arithmetic) {
        case Arithmetic::simt: break;
        case Arithmetic::tf32: return 5.0;
        case Arithmetic::bfloat16: return 10.0;
        case Arithmetic::bf16x6: return 1.5;
    }
    return 1.0;
}

// Steps between two looks at the device: few enough that a stop is seen within 2 x 50 GFLOP of fused multiply-adds, a
// millisecond each, at most 64 steps.
inline std::int64_t steps_a_look(double flops_a_step, Arithmetic arithmetic = Arithmetic::simt) {
    return static_cast<std::int64_t>(std::clamp(5e10 * speed(arithmetic) / flops_a_step, 1.0, 32.0));
}

// Steps that are launched at once where they can be: the launch of a graph, 5 us, is then little beside them. And the
// steps of a table, a power of two, whose row numbers take 1 MB.
inline constexpr std::int64_t kStepsAGraph = 8;
inline std::int64_t steps_a_table(std::int64_t batch) {
    std::int64_t steps = 512;
    while (steps > 1 && steps * batch > (1 << 17)) steps /= 2;
    return steps;
}

// Whether rows of a source stay on the device while it is trained on: half of what is free is left for the rest.
inline bool fits(std::int64_t bytes, std::int64_t free_bytes) { return bytes <= free_bytes / 2; }

}  // namespace isthmus::cuda
