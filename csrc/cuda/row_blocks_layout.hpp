// SPDX-License-Identifier: Apache-2.0
// The first kernel of a step of two: blocks of threads that each take a few rows through the whole network and back in
// shared memory, while the weights stream past in tiles. Where everything lies and how the work is divided, worked out
// on the host and read by the kernel. Places count floats of shared memory; matrices there have rows of an odd number
// of float4, and columns up to the next multiple of 4 that are finite, 0 for what a sum over k meets.
#pragma once

#include <cstdint>

#include "cuda/thread_tiles.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cuda {

inline constexpr int kRowBlockThreads = 256;
inline constexpr int kWeightStages = 3;         // of the ring of tiles: two are on their way while one is used
inline constexpr int kMostRowBlockLayers = 12;  // for the 4 KB that a kernel's arguments may take

struct RowBlockLayer {
    int in = 0, out = 0;
    int flat_weight = 0, flat_bias = 0;
    int x = 0, x_stride = 0;
    int y = 0, dz = 0, y_stride = 0;
    Activation activation = Activation::linear;
};

// A product of the block's rows with a weight: forward, or back to dz of the layer below. Its columns are taken some at
// a time, k some quads at a time: that is a tile of the weight, and a stage of the ring. A thread has one thread tile
// of the columns and keeps its sums from one tile of the weight to the next.
struct WeightPass {
    ThreadTile tile = ThreadTile::one;
    bool forward = true;
    std::int16_t layer = 0;
    int cols = 0;       // a multiple of 4, at a time
    int col_tiles = 0;  // how often
    int k_quads = 0;    // of all of k
    int quads = 0;      // at a time
    int k_tiles = 0;
    int stride = 0;         // of a row of the weight's tile
    Divisor threads_a_row;  // cols / columns of a thread tile
    Divisor quads_a_row;    // of a row of the weight's tile
    int weight_rows = 0;    // of it
};

struct RowBlockLayout {
    int n_layers = 0;
    int rows = 0;    // of a block
    int floats = 0;  // of shared memory
    int ring = 0, stage_floats = 0;
    int inputs = 0, targets = 0;  // targets are the inputs where those are not changed and there are no others
    int weights = 0;              // one a row
    int partials = 0;             // doubles, 8 a row
    Divisor input_quads;
    int n_passes = 0;
    RowBlockLayer layers[kMostRowBlockLayers];
    WeightPass passes[2 * kMostRowBlockLayers - 1];
};

}  // namespace isthmus::cuda
