// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/gemm.cuh"
#include "cuda/products.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

void dense_backward_input(const InputGradientArgs& args, TileSize tile, cudaStream_t stream) {
    math::visit(args.activation, [&](auto act) {
        launch_gemm<Contiguous::k, Contiguous::other>(
            tile, {args.dz, args.dz_stride}, {args.weight, args.in}, args.rows, args.in, args.out,
            TimesDerivative<decltype(act)>({const_cast<float*>(args.kept), args.dx_stride}, {args.dx, args.dx_stride}),
            stream);
    });
}

}  // namespace isthmus::cuda
