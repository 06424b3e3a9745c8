// SPDX-License-Identifier: Apache-2.0
#include "cuda/product.cuh"
#include "cuda/products.hpp"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void dense_backward_input(const InputGradientArgs& args, const ProductPlan& plan, cudaStream_t stream) {
    if (plan.wgmma.columns > 0) return wgmma_backward_input(args, plan.wgmma, stream);
    launch_product<Contiguous::k, Contiguous::other>(
        plan, {{args.dz, args.dz_stride}, args.dz_planes}, {{args.weight, args.in}, args.weight_planes}, args.rows,
        args.in, args.out, args.dx_planes,
        [&](auto planes) {
            return WithActivation<TimesDerivative, decltype(planes)>{
                args.activation, {{const_cast<float*>(args.kept), args.dx_stride}, {args.dx, args.dx_stride}, planes}};
        },
        stream);
}

}  // namespace isthmus::cuda
