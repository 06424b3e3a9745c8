// SPDX-License-Identifier: Apache-2.0
// A matrix transposed into another, or added to it: squares of 32 through shared memory, so that both sides are read
// and written along their rows.
#include "cuda/launch.hpp"
#include "cuda/tied.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kSide = 32;
constexpr int kRowsAtOnce = 8;

// to (cols, rows) = from (rows, cols) transposed, or to plus that. Both without gaps.
template <bool kAdds>
__global__ void __launch_bounds__(kSide* kRowsAtOnce)
    transpose(const float* from, std::int64_t rows, std::int64_t cols, float* to) {
    ISTHMUS_SHARED(float, square, kSide*(kSide + 1));  // a column more, so that columns lie in different banks
    const std::int64_t first_row = std::int64_t{blockIdx.y} * kSide;
    const std::int64_t first_col = std::int64_t{blockIdx.x} * kSide;
    const int x = static_cast<int>(threadIdx.x) % kSide;
    for (int y = static_cast<int>(threadIdx.x) / kSide; y < kSide; y += kRowsAtOnce) {
        const std::int64_t row = first_row + y;
        const std::int64_t col = first_col + x;
        if (row < rows && col < cols) square[y * (kSide + 1) + x] = from[row * cols + col];
    }
    __syncthreads();
    for (int y = static_cast<int>(threadIdx.x) / kSide; y < kSide; y += kRowsAtOnce) {
        const std::int64_t row = first_row + x;
        const std::int64_t col = first_col + y;
        if (row >= rows || col >= cols) continue;
        float& there = to[col * rows + row];
        const float value = square[x * (kSide + 1) + y];
        there = kAdds ? there + value : value;
    }
}

template <bool kAdds>
void launch_transpose(const float* from, std::int64_t rows, std::int64_t cols, float* to, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((cols + kSide - 1) / kSide),
                    static_cast<unsigned>((rows + kSide - 1) / kSide));
    launch(transpose<kAdds>, grid, dim3(kSide * kRowsAtOnce), 0, stream, from, rows, cols, to);
}

}  // namespace

void copy_tied_weights(const Network& network, float* memory, cudaStream_t stream) {
    for (const Layer& layer : network.layers()) {
        if (layer.tied) {
            launch_transpose<false>(memory + layer.shared, layer.in, layer.out, memory + layer.weight, stream);
        }
    }
}

void add_tied_gradients(const Network& network, float* gradient, cudaStream_t stream) {
    for (const Layer& layer : network.layers()) {
        if (layer.tied) {
            launch_transpose<true>(gradient + layer.dweight, layer.out, layer.in, gradient + layer.shared, stream);
        }
    }
}

}  // namespace isthmus::cuda
