// SPDX-License-Identifier: Apache-2.0
#include "cuda/weight_gradient.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void wgmma_backward_weight(const WeightGradientArgs& args, const WgmmaGrid& grid, const PartBuffers& parts,
                           cudaStream_t stream) {
    const RowParts rows = wgmma_row_parts(args.rows, args.out, args.in);
    launch_wgmma<Contiguous::other, Contiguous::other>(grid, args.dz_planes, args.x_planes, args.out, args.in,
                                                       args.rows, weight_gradient(args, rows, parts), stream, rows);
}

}  // namespace isthmus::cuda
