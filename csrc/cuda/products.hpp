// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, queued on a stream. All pointers are to device memory.
//
// Where the plan's arithmetic wants planes, operands are read from those, and their floats may be null; a result goes
// to the floats, the planes or both, as they are given.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/buffer.hpp"
#include "cuda/planes.hpp"
#include "cuda/product_plan.hpp"
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
    Planes x_planes = {}, weight_planes = {}, y_planes = {};
};
void dense_forward(const ForwardArgs& args, const ProductPlan& plan, cudaStream_t stream);

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
    Planes dz_planes = {}, weight_planes = {}, dx_planes = {};
};
void dense_backward_input(const InputGradientArgs& args, const ProductPlan& plan, cudaStream_t stream);

// What the parts of a weight gradient pass through: see row_parts. So many products at a time.
struct PartBuffers {
    // Of so many products at a time. `wgmma`: also for the larger ones of wgmma_row_parts.
    PartBuffers(cudaStream_t stream, bool wgmma, std::int64_t products = 1)
        : sums(products * (wgmma ? kWgmmaPartFloats : kPartFloats)),
          bias_sums(products * (wgmma ? kWgmmaBiasPartFloats : kBiasPartFloats)),
          blocks_arrived(products * kPartBlocks) {
        zero_async(blocks_arrived.data(), blocks_arrived.size(), stream);
    }
    static_assert(kWgmmaPartCounters <= kPartBlocks);
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
    Planes x_planes = {}, dz_planes = {};
};
void dense_backward_weight(const WeightGradientArgs& args, const ProductPlan& plan, const PartBuffers& parts,
                           cudaStream_t stream);

}  // namespace isthmus::cuda
