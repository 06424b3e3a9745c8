// SPDX-License-Identifier: Apache-2.0
// A code that is drawn, with its divergence in the same pass: a lane takes four units, which is what a Philox block
// serves.
#include "cuda/code_rows.cuh"
#include "math/gaussian_code.hpp"
#include "math/philox.hpp"

namespace isthmus::cuda {

namespace {

__global__ void __launch_bounds__(kCodeThreads) draw(CodeArgs c) {
    ISTHMUS_SHARED(double, partials, 8);
    ISTHMUS_SHARED(unsigned, last, 1);
    if (is_over(c)) return;
    const std::int64_t r = row_of_warp();
    if (r < c.rows) {
        const float* const mean = c.y + r * c.y_stride;
        const float* const log_variance = mean + c.cols;
        const auto number = static_cast<std::uint64_t>(c.batch.numbers[c.batch.begin() + r]);
        double sum = 0.0;
        for (std::int64_t first = 4 * (threadIdx.x % 32); first < c.cols; first += 4 * 32) {
            const math::Quad<float> eps = math::gaussians<float>(
                math::philox(math::row_counter(math::Purpose::sample, static_cast<std::uint32_t>(first / 4), number,
                                               c.progress->noise_epoch),
                             c.seed));
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::int64_t j = first + i;
                if (j >= c.cols) continue;
                const std::int64_t at = r * c.stride + j;
                c.eps[at] = eps.value[i];
                store_unit(math::GaussianCode::draw(mean[j], log_variance[j], eps.value[i]), c.code, at, c.planes, r,
                           j);
                sum += static_cast<double>(math::GaussianCode::divergence(mean[j], log_variance[j]));
            }
        }
        store_penalty(c, r, sum);
    }
    add_up_penalties(c, partials, last);
}

__global__ void __launch_bounds__(kCodeThreads) take_means(CodeArgs c) {
    const std::int64_t r = row_of_warp();
    if (r >= c.rows) return;
    for (std::int64_t j = threadIdx.x % 32; j < c.cols; j += 32) {
        store_unit(c.y[r * c.y_stride + j], c.code, r * c.stride + j, c.planes, r, j);
    }
}

__global__ void __launch_bounds__(kCodeThreads) draw_backward(CodeArgs c) {
    const std::int64_t r = row_of_warp();
    if (r >= c.rows) return;
    const float* const mean = c.y + r * c.y_stride;
    const float* const log_variance = mean + c.cols;
    for (std::int64_t j = threadIdx.x % 32; j < c.cols; j += 32) {
        const std::int64_t at = r * c.stride + j;
        float dmean;
        float dlog_variance;
        math::GaussianCode::gradient(mean[j], log_variance[j], c.eps[at], c.dcode[at], c.shares[r], dmean,
                                     dlog_variance);
        store_unit(dmean, c.dz, r * c.y_stride + j, c.dz_planes, r, j);
        store_unit(dlog_variance, c.dz, r * c.y_stride + c.cols + j, c.dz_planes, r, c.cols + j);
    }
}

}  // namespace

void sample_forward(const CodeArgs& args, cudaStream_t stream) {
    launch(args.eps != nullptr ? draw : take_means, code_blocks(args), dim3(kCodeThreads), 0, stream, args);
}

void sample_backward(const CodeArgs& args, cudaStream_t stream) {
    launch(draw_backward, code_blocks(args), dim3(kCodeThreads), 0, stream, args);
}

}  // namespace isthmus::cuda
