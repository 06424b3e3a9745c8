// SPDX-License-Identifier: Apache-2.0
#include "cuda/product.cuh"
#include "cuda/products.hpp"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void dense_forward(const ForwardArgs& args, const ProductPlan& plan, cudaStream_t stream) {
    if (plan.wgmma.columns > 0) return wgmma_forward(args, plan.wgmma, stream);
    launch_product<Contiguous::k, Contiguous::k>(
        plan, {{args.x, args.x_stride}, args.x_planes}, {{args.weight, args.in}, args.weight_planes}, args.rows,
        args.out, args.in, args.y_planes,
        [&](auto planes) {
            return WithActivation<BiasActivation, decltype(planes)>{
                args.activation, {args.bias, {args.y, args.y_stride}, args.z, planes}};
        },
        stream);
}

}  // namespace isthmus::cuda
