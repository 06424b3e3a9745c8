// SPDX-License-Identifier: Apache-2.0
// Loss, its gradient through the last activation, and each row's error, in one pass. A row is a warp's, or a block's
// where it is wide; its sum depends on its width alone.
#include "cuda/elementwise.hpp"
#include "cuda/planes.cuh"
#include "cuda/reduction.cuh"
#include "math/registry.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kThreads = 256;

// The sum over row r of the elements that this thread has, every kWidth-th.
template <class LossT, class Act, int kWidth>
__device__ __forceinline__ double sum_of_elements(const LossArgs& l, std::int64_t r, std::int64_t position,
                                                  float scale) {
    const float* y = l.y + r * l.y_stride;
    const float* kept = l.kept + r * l.y_stride;
    const float* target = l.batch.targets + position * l.batch.stride;
    double sum = 0.0;
    for (std::int64_t j = threadIdx.x % kWidth; j < l.cols; j += kWidth) {
        float value;
        float gradient;
        LossT::evaluate(y[j], target[j], value, gradient);
        sum += static_cast<double>(value);
        if (l.dz != nullptr || l.dz_planes.data != nullptr) {
            float dz[1] = {gradient * scale};
            if constexpr (Act::id != Activation::linear) dz[0] *= Act::derivative(kept[j]);
            if (l.dz != nullptr) l.dz[r * l.y_stride + j] = dz[0];
            if (l.dz_planes.data != nullptr) store_planes(l.dz_planes, r, j, dz);
        }
        if (l.values != nullptr) l.values[r * l.values_stride + j] = value;
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

template <class LossT, class Act, int kWidth>
__global__ void __launch_bounds__(kThreads) loss_of_rows(LossArgs l) {
    ISTHMUS_SHARED(double, partials, 8);
    ISTHMUS_SHARED(unsigned, last, 1);
    if (l.progress != nullptr && l.progress->first_diverged() != Progress::kNone) return;

    constexpr int kRows = kThreads / kWidth;
    const std::int64_t r = std::int64_t{blockIdx.x} * kRows + threadIdx.x / kWidth;
    double sum = 0.0;
    float weight = 1.0F;
    if (r < l.rows) {
        const std::int64_t position =
            l.batch.first + (l.batch.positions != nullptr ? l.batch.positions[l.batch.begin() + r] : r);
        if (l.batch.weights != nullptr) weight = l.batch.weights[position];
        sum = sum_of_elements<LossT, Act, kWidth>(l, r, position, weight / l.divisor);
    }
    sum = kWidth == 32 ? sum_of_warp(sum) : sum_of_block(sum, partials);
    if (r < l.rows && threadIdx.x % kWidth == 0) {
        const double error = sum / static_cast<double>(l.cols);
        l.errors[r] = l.progress != nullptr ? static_cast<double>(weight) * error : error;
    }
    if (l.progress != nullptr && is_last_block(&l.progress->blocks_arrived, gridDim.x, last)) add_up(l, partials);
}

template <class LossT, class Act>
void launch_loss(const LossArgs& args, cudaStream_t stream) {
    const auto rows = static_cast<unsigned>(args.rows);
    if (args.cols < kWideLoss) {
        launch(loss_of_rows<LossT, Act, 32>, dim3((rows + 7) / 8), dim3(kThreads), 0, stream, args);
    } else {
        launch(loss_of_rows<LossT, Act, kThreads>, dim3(rows), dim3(kThreads), 0, stream, args);
    }
}

}  // namespace

void loss(const LossArgs& args, cudaStream_t stream) {
    math::visit(args.loss, [&](auto which) {
        // A loss of logits takes the output before its activation.
        if constexpr (decltype(which)::from_logits) {
            launch_loss<decltype(which), math::Linear>(args, stream);
        } else {
            math::visit(args.activation, [&](auto act) { launch_loss<decltype(which), decltype(act)>(args, stream); });
        }
    });
}

}  // namespace isthmus::cuda
