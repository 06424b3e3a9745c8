// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void wgmma_backward_input(const InputGradientArgs& args, const WgmmaGrid& grid, cudaStream_t stream) {
    const WithActivation<TimesDerivative, IntoPlanes> epilogue{
        args.activation,
        {{const_cast<float*>(args.kept), args.dx_stride}, {args.dx, args.dx_stride}, {args.dx_planes}}};
    launch_wgmma<Contiguous::k, Contiguous::other>(grid, args.dz_planes, args.weight_planes, args.rows, args.in,
                                                   args.out, epilogue, stream);
}

}  // namespace isthmus::cuda
