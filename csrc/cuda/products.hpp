// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, queued on a stream. All pointers are to device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/buffer.hpp"
#include "cuda/plan.hpp"
#include "cuda/stream.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cuda {

// y = act(x @ weight.T + bias); x (rows, in), weight (out, in), y (rows, out). bias may be null; z, of the stride of y,
// takes the value before the activation where that needs it, and may be null.
struct ForwardArgs {
    std::int64_t rows, in, out;
    const float* x;
    std::int64_t x_stride;
    const float* weight;
    const float* bias;
    Activation activation;
    float* y;
    float* z;
    std::int64_t y_stride;
};
void dense_forward(const ForwardArgs& args, TileSize tile, cudaStream_t stream);

// dx = (dz @ weight) * act'(kept); dz (rows, out), dx (rows, in). kept is y or z of the layer below, of the stride of
// dx; it may be dx itself, and is not read for the linear activation.
struct InputGradientArgs {
    std::int64_t rows, in, out;
    const float* dz;
    std::int64_t dz_stride;
    const float* weight;
    Activation activation;
    const float* kept;
    float* dx;
    std::int64_t dx_stride;
};
void dense_backward_input(const InputGradientArgs& args, TileSize tile, cudaStream_t stream);

// What the parts of a weight gradient pass through: see row_parts. So many products at a time.
struct PartBuffers {
    explicit PartBuffers(cudaStream_t stream, std::int64_t products = 1)
        : sums(products * kPartFloats), bias_sums(products * kBiasPartFloats), blocks_arrived(products * kPartBlocks) {
        zero_async(blocks_arrived.data(), blocks_arrived.size(), stream);
    }
    DeviceArray<float> sums, bias_sums;
    DeviceArray<unsigned> blocks_arrived;  // all 0 between two products
};

// dweight (out, in) = dz.T @ x, dbias (out) = sum over rows of dz, or what they hold plus that; dbias may be null.
struct WeightGradientArgs {
    std::int64_t rows, in, out;
    const float* x;
    std::int64_t x_stride;
    const float* dz;
    std::int64_t dz_stride;
    bool accumulate;
    float* dweight;
    float* dbias;
};
void dense_backward_weight(const WeightGradientArgs& args, TileSize tile, const PartBuffers& parts,
                           cudaStream_t stream);

}  // namespace isthmus::cuda
