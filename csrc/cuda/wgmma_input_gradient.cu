// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void wgmma_backward_input(const InputGradientArgs& args, const Planes& dz, const Planes& weight, const WgmmaGrid& grid,
                          cudaStream_t stream) {
    const WithActivation<TimesDerivative> epilogue{
        args.activation, {{const_cast<float*>(args.kept), args.dx_stride}, {args.dx, args.dx_stride}}};
    launch_wgmma<Contiguous::k, Contiguous::other>(grid, dz, weight, args.rows, args.in, args.out, epilogue, stream);
}

}  // namespace isthmus::cuda
