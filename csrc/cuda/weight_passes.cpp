// SPDX-License-Identifier: Apache-2.0
#include "cuda/weight_passes.hpp"

#include <algorithm>

namespace isthmus::cuda {

namespace {

constexpr int kMostStageFloats = 12288;  // 48 KB
constexpr int kLeastStageFloats = 2048;  // less is all barriers
constexpr double kCyclesATile = 100;     // a barrier, and the first of its operands

}  // namespace

bool add_ring(RowBlockLayout& to, std::int64_t floats, const Limits& limits) {
    const std::int64_t left = (limits.shared_memory / std::int64_t{sizeof(float)} - floats) / kWeightStages / 4 * 4;
    if (left < kLeastStageFloats) return false;
    to.ring = static_cast<int>(floats);
    to.stage_floats = static_cast<int>(std::min<std::int64_t>(left, kMostStageFloats));
    to.floats = to.ring + kWeightStages * to.stage_floats;
    return true;
}

double add_weight_pass(RowBlockLayout& to, int l, bool forward) {
    WeightPass& pass = to.passes[to.n_passes++];
    pass.layer = static_cast<std::int16_t>(l);
    pass.forward = forward;
    const int rows = to.rows;
    const int stage_floats = to.stage_floats;
    const int width_k = forward ? to.layers[l].in : to.layers[l].out;
    const int cols = 4 * quads(forward ? to.layers[l].out : to.layers[l].in);
    double best = 0.0;
    for (const TileShape& t : kThreadTiles) {
        if (rows % t.rows != 0) continue;
        WeightPass p = pass;
        p.tile = t.tile;
        p.k_quads = quads(width_k);
        const int most_cols = std::min(kRowBlockThreads / (rows / t.rows) * t.cols, stage_floats / 20);
        p.col_tiles = rounded_up(cols, most_cols / 4 * 4);
        p.cols = 4 * quads(rounded_up(cols, p.col_tiles));
        // Forward a row of the tile is along k, and its stride an odd number of float4; back it is along the columns.
        const int at_once = p.forward ? (stage_floats / p.cols / 4 - 1) | 1 : stage_floats / (4 * odd_stride(p.cols));
        p.k_tiles = rounded_up(p.k_quads, std::max(1, at_once));
        p.quads = rounded_up(p.k_quads, p.k_tiles);
        p.stride = odd_stride(p.forward ? 4 * p.quads : p.cols);
        p.threads_a_row = Divisor(p.cols / t.cols);
        p.quads_a_row = Divisor(p.forward ? p.quads : p.cols / 4);
        p.weight_rows = p.forward ? p.cols : 4 * p.quads;
        const int threads = rows / t.rows * p.threads_a_row.n;
        const double cycles = p.col_tiles * (cycles_a_quad(t, threads) * p.k_quads + kCyclesATile * (p.k_tiles + 1));
        if (best == 0.0 || cycles < best) {
            best = cycles;
            pass = p;
        }
    }
    return best;
}

}  // namespace isthmus::cuda
