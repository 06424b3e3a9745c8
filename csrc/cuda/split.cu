// SPDX-License-Identifier: Apache-2.0
// Floats into planes, for what no other kernel writes as planes: rows and weights that come from the host.
#include "cuda/elementwise.hpp"
#include "cuda/gemm_tile.cuh"
#include "cuda/planes.cuh"

namespace isthmus::cuda {

namespace {

__global__ void split_matrix(Operand from, std::int64_t rows, std::int64_t cols, Planes to) {
    const std::int64_t groups = (cols + 3) / 4;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * groups;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        const std::int64_t row = i / groups;
        const std::int64_t column = (i - row * groups) * 4;
        float values[4];
        const int valid = cols - column < 4 ? static_cast<int>(cols - column) : 4;
        load_four(from.data + row * from.stride + column, valid, from.aligned, values);
        store_planes(to, row, column, values);
    }
}

}  // namespace

void split(const SplitArgs& args, cudaStream_t stream) {
    if (args.rows == 0 || args.cols == 0) return;
    launch(split_matrix, dim3(blocks_for(args.rows * ((args.cols + 3) / 4))), dim3(256), 0, stream,
           Operand(args.from, args.stride), args.rows, args.cols, args.to);
}

}  // namespace isthmus::cuda
