// SPDX-License-Identifier: Apache-2.0
// A training step in the shared memory of one block of threads: where everything lies and how the work of each phase is
// divided, worked out on the host and read by the kernel. Places count floats of shared memory.
//
// A matrix has rows of an odd number of float4. Its columns from its width to the next multiple of 4 are finite, and 0
// wherever what they are multiplied with is not: weights and their moments (zero gradients keep them so), rows, dz.
#pragma once

#include <cstdint>

#include "cuda/step_table.hpp"
#include "cuda/thread_tiles.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cuda {

inline constexpr int kRowsBeyond = 4;  // of the batch, that a tile may touch

// A product (rows of the batch, cols) with k in fours.
struct BlockProduct {
    ThreadTile tile = ThreadTile::one;
    Divisor col_tiles;
};

struct BlockLayer {
    int in_quads = 0, out_quads = 0;  // widths in fours, rounded up
    int out = 0;
    int weight = 0, weight_stride = 0, bias = 0;
    int x = 0, x_stride = 0;
    int x_toggle = 0;  // how far apart the inputs of even and odd steps lie
    int y = 0, dz = 0, y_stride = 0;
    BlockProduct forward, backward;  // backward: dz of the layer below
    Activation activation = Activation::linear;
    // Of the flat buffers.
    int in = 0, flat_weight = 0, flat_bias = 0;
    // Update: tiles of the weight up to this item; the parts of the rows in a full batch and in the last.
    int weight_items = 0;
    int bias_items = 0;
    Divisor in_quads_divisor;
    int part_rows[2] = {};
};

inline constexpr int kMostBlockLayers = 16;

struct BlockLayout {
    int n_layers = 0;
    int threads = 0;
    int floats = 0;  // of shared memory
    int batch = 0;   // rows of every step but perhaps the last
    int last_batch = 0;
    int update_rows = 4;  // rows of a tile of a weight in the update, 4, 2 or 1; it has four columns
    int update_items = 0;
    int loss_groups = 0;  // of 32 rows, 8 at most: their losses are summed apart
    // Slots for even and odd steps, `toggle` apart.
    int numbers = 0;  // int64 each
    int constants = 0;
    int rows = 0, rows_stride = 0, rows_toggle = 0;
    int targets = 0, targets_toggle = 0;  // those of the rows where there are none
    int weights = 0, weights_toggle = 0;
    int corrupted = 0;  // the rows with noise
    int diverged = 0;   // an int
    int params = 0;     // then m, then v
    int params_size = 0;
    Divisor rows_quads;
    BlockLayer layers[kMostBlockLayers];
};

}  // namespace isthmus::cuda
