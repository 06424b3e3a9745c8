// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/gemm.cuh"
#include "cuda/products.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

void dense_forward(const ForwardArgs& args, TileSize tile, cudaStream_t stream) {
    math::visit(args.activation, [&](auto act) {
        launch_gemm<Contiguous::k, Contiguous::k>(
            tile, {args.x, args.x_stride}, {args.weight, args.in}, args.rows, args.out, args.in,
            BiasActivation<decltype(act)>(args.bias, {args.y, args.y_stride}, args.z), stream);
    });
}

}  // namespace isthmus::cuda
