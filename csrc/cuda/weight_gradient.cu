// SPDX-License-Identifier: Apache-2.0
#include "cuda/product.cuh"
#include "cuda/products.hpp"
#include "cuda/weight_gradient.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void dense_backward_weight(const WeightGradientArgs& args, const ProductPlan& plan, const PartBuffers& parts,
                           cudaStream_t stream) {
    if (plan.wgmma.columns > 0) return wgmma_backward_weight(args, plan.wgmma, parts, stream);
    const RowParts rows = row_parts(args.rows, args.out, args.in);
    const WeightGradient epilogue = weight_gradient(args, rows, parts);
    launch_product<Contiguous::other, Contiguous::other>(
        plan, {{args.dz, args.dz_stride}, args.dz_planes}, {{args.x, args.x_stride}, args.x_planes}, args.out, args.in,
        args.rows, {}, [&](auto) { return epilogue; }, stream, rows.count);
}

}  // namespace isthmus::cuda
