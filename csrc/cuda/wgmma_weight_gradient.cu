// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/wgmma_launch.cuh"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

void wgmma_backward_weight(const WeightGradientArgs& args, const WgmmaGrid& grid, const PartBuffers& parts,
                           cudaStream_t stream) {
    const RowParts rows = wgmma_row_parts(args.rows, args.out, args.in);
    const WeightGradient epilogue{{args.dweight, args.in},
                                  args.dbias,
                                  args.accumulate,
                                  static_cast<int>(rows.rows),
                                  static_cast<int>(args.out),
                                  {parts.sums.data(), args.in},
                                  parts.bias_sums.data(),
                                  parts.blocks_arrived.data()};
    launch_wgmma<Contiguous::other, Contiguous::other>(grid, args.dz_planes, args.x_planes, args.out, args.in,
                                                       args.rows, epilogue, stream, rows);
}

}  // namespace isthmus::cuda
