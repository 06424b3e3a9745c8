// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void wgmma_forward(const ForwardArgs& args, const WgmmaGrid& grid, cudaStream_t stream) {
    const WithActivation<BiasActivation, IntoPlanes> epilogue{
        args.activation, {args.bias, {args.y, args.y_stride}, args.z, {args.y_planes}}};
    launch_wgmma<Contiguous::k, Contiguous::k>(grid, args.x_planes, args.weight_planes, args.rows, args.out, args.in,
                                               epilogue, stream);
}

}  // namespace isthmus::cuda
