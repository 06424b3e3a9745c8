// SPDX-License-Identifier: Apache-2.0
// A batch, or a piece of one, through the network and back: queued on a stream, nothing waits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/network.hpp"
#include "cuda/plan.hpp"
#include "cuda/products.hpp"

namespace isthmus::cuda {

// The matrices of a piece of `rows` rows while training: the input x, and y and dz of every layer. Where a derivative
// needs z, z waits in dz.
struct Workspace {
    Workspace(const Network& network, std::int64_t rows, cudaStream_t stream);

    std::int64_t rows;
    float* x = nullptr;
    std::vector<float*> y;
    std::vector<float*> dz;
    DeviceArray<double> errors;
    PartBuffers parts;

private:
    DeviceArray<float> memory_;
};

// The unnormalised gradient of a batch, into a flat buffer of the contract's layout, and its loss into progress.
struct BatchGradient {
    const Network& network;
    const Limits& limits;
    const Workspace& work;
    const float* params;
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
};

// One layer with its bias and `activation`, from and to matrices of the layer's strides. z may be null.
void run_layer(const Layer& layer, Activation activation, const float* params, std::int64_t rows, const float* x,
               float* y, float* z, const Limits& limits, cudaStream_t stream);

}  // namespace isthmus::cuda
