// SPDX-License-Identifier: Apache-2.0
#include "cuda/epilogues.cuh"
#include "cuda/products.hpp"

namespace isthmus::cuda {

void dense_backward_weight(const WeightGradientArgs& args, TileSize tile, const PartBuffers& parts,
                           cudaStream_t stream) {
    const RowParts rows = row_parts(args.rows, args.out, args.in);
    const WeightGradient epilogue{{static_cast<int>(rows.rows),
                                   static_cast<int>(args.out),
                                   {parts.sums.data(), args.in},
                                   parts.bias_sums.data(),
                                   parts.blocks_arrived.data()},
                                  {args.dweight, args.in},
                                  args.dbias,
                                  args.accumulate};
    launch_gemm<Contiguous::other, Contiguous::other>(tile, {args.dz, args.dz_stride}, {args.x, args.x_stride},
                                                      args.out, args.in, args.rows, epilogue, stream, rows.count);
}

}  // namespace isthmus::cuda
