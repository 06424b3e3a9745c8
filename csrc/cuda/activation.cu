// SPDX-License-Identifier: Apache-2.0
// Activations on their own, for isthmus.kernels: in a network they are part of a product.
#include "cuda/elementwise.hpp"
#include "cuda/launch.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

namespace {

template <class Act>
__global__ void forward(std::int64_t n, const float* z, float* y) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        y[i] = Act::forward(z[i]);
    }
}

template <class Act>
__global__ void backward(std::int64_t n, const float* z, const float* dy, float* dz) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        dz[i] = dy[i] * Act::derivative(Act::needs_z ? z[i] : Act::forward(z[i]));
    }
}

}  // namespace

void activation_forward(Activation activation, std::int64_t n, const float* z, float* y, cudaStream_t stream) {
    math::visit(activation,
                [&](auto act) { launch(forward<decltype(act)>, dim3(blocks_for(n)), dim3(256), 0, stream, n, z, y); });
}

void activation_backward(Activation activation, std::int64_t n, const float* z, const float* dy, float* dz,
                         cudaStream_t stream) {
    math::visit(activation, [&](auto act) {
        launch(backward<decltype(act)>, dim3(blocks_for(n)), dim3(256), 0, stream, n, z, dy, dz);
    });
}

}  // namespace isthmus::cuda
