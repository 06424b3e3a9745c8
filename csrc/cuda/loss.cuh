// SPDX-License-Identifier: Apache-2.0
// Loss, its gradient through the last activation, and each row's error, in one pass. A row is a warp's, or a block's
// where it is wide; its sum depends on its width alone. Where rows are masked, a pass over the targets comes first,
// which counts those that were observed; where all were, it changes no bit.
#pragma once

#include "cuda/elementwise.hpp"
#include "cuda/planes.cuh"
#include "cuda/reduction.cuh"
#include "math/registry.hpp"

namespace isthmus::cuda {

constexpr int kLossThreads = 256;

// The sum over the threads of a row, in every one of them. Called by all threads of the block, or of the warp.
template <int kWidth>
__device__ __forceinline__ double sum_of_row(double value, double* partials) {
    return kWidth == 32 ? sum_of_warp(value) : sum_of_block(value, partials);
}

// Of a row's targets, those that are not NaN.
template <int kWidth>
__device__ __forceinline__ float count_observed(const float* target, std::int64_t cols, double* partials) {
    double count = 0.0;
    for (std::int64_t j = threadIdx.x % kWidth; j < cols; j += kWidth) count += target[j] == target[j] ? 1.0 : 0.0;
    count = sum_of_row<kWidth>(count, partials);
    if constexpr (kWidth != 32) __syncthreads();  // the next sum takes the same partials
    return static_cast<float>(count);
}

// The sum over row r of the elements that this thread has, every kWidth-th.
template <class LossT, class Act, int kWidth, bool kMasked>
__device__ __forceinline__ double sum_of_elements(const LossArgs& l, std::int64_t r, const float* target, float scale) {
    const float* y = l.y + r * l.y_stride;
    const float* kept = l.kept + r * l.y_stride;
    double sum = 0.0;
    for (std::int64_t j = threadIdx.x % kWidth; j < l.cols; j += kWidth) {
        float value;
        float gradient;
        LossT::evaluate(y[j], target[j], value, gradient);
        if (l.values != nullptr) l.values[r * l.values_stride + j] = value;
        if constexpr (kMasked) {
            if (target[j] != target[j]) value = gradient = 0.0F;
        }
        sum += static_cast<double>(value);
        if (l.dz != nullptr || l.dz_planes.data != nullptr) {
            float dz[1] = {gradient * scale};
            if constexpr (Act::id != Activation::linear) dz[0] *= Act::derivative(kept[j]);
            if (l.dz != nullptr) l.dz[r * l.y_stride + j] = dz[0];
            if (l.dz_planes.data != nullptr) store_planes(l.dz_planes, r, j, dz);
        }
    }
    return sum;
}

// Called by all threads of the last block: the rows' errors become the step's loss.
__device__ __forceinline__ void add_up(const LossArgs& l, double* partials) {
    const double sum = sum_of_written(l.errors, l.rows, partials);
    if (threadIdx.x != 0) return;
    if (l.closes) l.progress->updating = l.progress->step;
    l.progress->add_loss(sum, l.opens, l.closes);
}

template <class LossT, class Act, int kWidth, bool kMasked>
__global__ void __launch_bounds__(kLossThreads) loss_of_rows(LossArgs l) {
    ISTHMUS_SHARED(double, partials, 8);
    ISTHMUS_SHARED(unsigned, last, 1);
    if (l.progress != nullptr && l.progress->first_diverged() != Progress::kNone) return;

    constexpr int kRows = kLossThreads / kWidth;
    const std::int64_t r = std::int64_t{blockIdx.x} * kRows + threadIdx.x / kWidth;
    double sum = 0.0;
    auto divisor = static_cast<double>(l.cols);
    float weight = 1.0F;
    if (r < l.rows) {
        const std::int64_t position =
            l.batch.first + (l.batch.positions != nullptr ? l.batch.positions[l.batch.begin() + r] : r);
        const float* const target = l.batch.targets + position * l.batch.stride;
        if (l.batch.weights != nullptr) weight = l.batch.weights[position];
        float scale = weight / l.divisor;
        if constexpr (kMasked) {
            const float observed = count_observed<kWidth>(target, l.cols, partials);
            scale = observed > 0.0F ? scale * (static_cast<float>(l.cols) / observed) : 0.0F;
            divisor = observed > 0.0F ? static_cast<double>(observed) : 1.0;
        }
        sum = sum_of_elements<LossT, Act, kWidth, kMasked>(l, r, target, scale);
    }
    sum = sum_of_row<kWidth>(sum, partials);
    if (r < l.rows && threadIdx.x % kWidth == 0) {
        const double error = sum / divisor;
        l.errors[r] = l.progress != nullptr ? static_cast<double>(weight) * error : error;
    }
    if (l.progress != nullptr && is_last_block(&l.progress->blocks_arrived, gridDim.x, last)) add_up(l, partials);
}

template <class LossT, class Act, bool kMasked>
void launch_loss(const LossArgs& args, cudaStream_t stream) {
    const auto rows = static_cast<unsigned>(args.rows);
    if (args.cols < kWideLoss) {
        launch(loss_of_rows<LossT, Act, 32, kMasked>, dim3((rows + 7) / 8), dim3(kLossThreads), 0, stream, args);
    } else {
        launch(loss_of_rows<LossT, Act, kLossThreads, kMasked>, dim3(rows), dim3(kLossThreads), 0, stream, args);
    }
}

// `loss` of elementwise.hpp, for rows that are masked or not.
template <bool kMasked>
void launch_loss(const LossArgs& args, cudaStream_t stream) {
    math::visit(args.loss, [&](auto which) {
        // A loss of logits takes the output before its activation.
        if constexpr (decltype(which)::from_logits) {
            launch_loss<decltype(which), math::Linear, kMasked>(args, stream);
        } else {
            math::visit(args.activation,
                        [&](auto act) { launch_loss<decltype(which), decltype(act), kMasked>(args, stream); });
        }
    });
}

}  // namespace isthmus::cuda
