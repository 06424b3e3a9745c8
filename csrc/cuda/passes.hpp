// SPDX-License-Identifier: Apache-2.0
// A batch, or a piece of one, through the network and back: queued on a stream, nothing waits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/code.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/network.hpp"
#include "cuda/plan.hpp"
#include "cuda/products.hpp"
#include "cuda/weight_planes.hpp"

namespace isthmus::cuda {

// A matrix as floats, as planes, or as both.
struct LayerMatrix {
    float* floats = nullptr;
    Planes planes = {};
    std::int64_t stride = 0;  // of the floats of an input; 0: the layer's
};

// The matrices of a piece of `rows` rows while training: the input x, and y and dz of every layer. Where a derivative
// needs z, z waits in the floats of dz.
//
// Where products read planes, x and dz have no floats of their own, and the output has no planes.
struct Workspace {
    Workspace(const Network& network, const Limits& limits, std::int64_t rows, cudaStream_t stream);

    std::int64_t rows;
    LayerMatrix x;
    std::vector<LayerMatrix> y;
    std::vector<LayerMatrix> dz;
    // Where the network does something to the code: what was drawn, and the gradient by what the decoder sees; and of
    // the same stride which units are kept, 1 or 0, or of which eps they were drawn. A row's share of the penalty's
    // gradient.
    LayerMatrix drawn;
    float* dcode = nullptr;
    float* kept = nullptr;
    float* eps = nullptr;
    DeviceArray<float> shares;
    DeviceArray<double> errors;
    DeviceArray<double> penalties;
    PartBuffers parts;

    // What layer i reads.
    const LayerMatrix& input(std::size_t layer) const {
        if (layer == 0) return x;
        return drawn.floats != nullptr && layer == after_code_ ? drawn : y[layer - 1];
    }
    // dz in floats, unless it is planes.
    float* dz_floats(std::size_t layer) const { return dz[layer].planes.data != nullptr ? nullptr : dz[layer].floats; }

private:
    std::size_t after_code_;
    DeviceArray<float> memory_;
};

// The unnormalised gradient of a batch, into a flat buffer of the contract's layout, and its loss into progress.
struct BatchGradient {
    const Network& network;
    const Limits& limits;
    const Workspace& work;
    Weights weights;
    float* gradient;
    Progress* progress;
    cudaStream_t stream;

    // Rows of a batch, at most work.rows. The first piece of a batch opens it, the last closes it.
    struct Piece {
        BatchRows rows;
        std::int64_t count;
        Noise noise;
        bool opens, closes;
    };
    // Returns once the kernels that read piece.rows are queued; `backward` queues the rest.
    void forward(const Piece& piece) const;
    void backward(const Piece& piece) const;

private:
    CodeArgs code_args(const Piece& piece) const;
};

// Layer i with its bias and `activation`. z may be null.
void run_layer(const Network& network, std::size_t i, Activation activation, const Weights& weights, std::int64_t rows,
               const LayerMatrix& x, const LayerMatrix& y, float* z, const Limits& limits, cudaStream_t stream);

}  // namespace isthmus::cuda
