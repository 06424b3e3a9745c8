// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

namespace {

using Outputs = WithActivation<BiasActivation>;

}  // namespace

void wgmma_forward(const ForwardArgs& args, const Planes& x, const Planes& weight, const WgmmaGrid& grid,
                   cudaStream_t stream) {
    launch_wgmma<Contiguous::k, Contiguous::k>(grid, x, weight, args.rows, args.out, args.in,
                                               Outputs{args.activation, {args.bias, {args.y, args.y_stride}, args.z}},
                                               stream);
}

// A library without machine code of sm_90a has kernels that trap.
bool has_wgmma() {
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    if (properties.major != 9 || properties.minor != 0) return false;
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, wgmma_product<256, 1, Contiguous::k, Contiguous::k, Outputs>),
          "cudaFuncGetAttributes");
    return attributes.ptxVersion >= 90;
}

}  // namespace isthmus::cuda
