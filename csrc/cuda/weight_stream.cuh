// SPDX-License-Identifier: Apache-2.0
// Tiles of weights on their way through a ring in shared memory, in the order in which the passes of row_blocks.cu use
// them, and across passes: while one is multiplied the next ones are being copied.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/ptx.hpp"
#include "cuda/row_blocks_layout.hpp"

namespace isthmus::cuda {

class WeightStream {
public:
    __device__ __forceinline__ WeightStream(const RowBlockLayout& layout, const float* params, float* shared)
        : layout_(layout), params_(params), ring_(shared + layout.ring) {
#pragma unroll
        for (int i = 0; i + 1 < kWeightStages; ++i) fetch();
    }

    // The next tile. All threads come here; then all of them are done with the tile before it, and with whatever they
    // did to shared memory.
    __device__ __forceinline__ const float* next() {
        copy_async_wait<kWeightStages - 2>();
        __syncthreads();
        fetch();
        const float* const tile = ring_ + slot_ * layout_.stage_floats;
        slot_ = slot_ + 1 == kWeightStages ? 0 : slot_ + 1;
        return tile;
    }

private:
    // The tile after those fetched, or nothing after the last: the groups of copies count on.
    __device__ __forceinline__ void fetch() {
        if (pass_ < layout_.n_passes) {
            const WeightPass& pass = layout_.passes[pass_];
            const int along_k = 4 * pass.quads * k_tile_;
            const int along_cols = pass.cols * col_tile_;
            fetch_tile(pass, pass.forward ? along_cols : along_k, pass.forward ? along_k : along_cols);
            if (++k_tile_ == pass.k_tiles) {
                k_tile_ = 0;
                if (++col_tile_ == pass.col_tiles) {
                    col_tile_ = 0;
                    ++pass_;
                }
            }
        }
        copy_async_commit();
        fetch_slot_ = fetch_slot_ + 1 == kWeightStages ? 0 : fetch_slot_ + 1;
    }

    // From (row, col) of the weight on; 0 outside of it.
    __device__ __forceinline__ void fetch_tile(const WeightPass& pass, int row, int col) {
        const RowBlockLayer& layer = layout_.layers[pass.layer];
        const float* const weight = params_ + layer.flat_weight;
        const bool aligned = layer.in % 4 == 0;
        float* const stage = ring_ + fetch_slot_ * layout_.stage_floats;
        for (int i = static_cast<int>(threadIdx.x); i < pass.weight_rows * pass.quads_a_row.n; i += kRowBlockThreads) {
            const int r = pass.quads_a_row.quotient(i);
            const int c = 4 * (i - r * pass.quads_a_row.n);
            const int valid = row + r < layer.out ? at_most(4, layer.in - (col + c)) : 0;
            const float* const from =
                valid > 0 ? weight + static_cast<std::int64_t>(row + r) * layer.in + (col + c) : weight;
            float* const to = stage + r * pass.stride + c;
            if (aligned) {
                copy_async_16(to, from, valid > 0 ? 16 : 0);
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) copy_async_4(to + j, j < valid ? from + j : weight, j < valid ? 4 : 0);
        }
    }

    const RowBlockLayout& layout_;
    const float* params_;
    float* ring_;
    int slot_ = 0, fetch_slot_ = 0;
    int pass_ = 0, col_tile_ = 0, k_tile_ = 0;  // of the next to fetch
};

}  // namespace isthmus::cuda
