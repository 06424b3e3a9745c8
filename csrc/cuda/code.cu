// SPDX-License-Identifier: Apache-2.0
// Units that are kept, and the absolute values of a code. Which units these are is found by counting (math/top_k.hpp):
// integers, in any order.
#include "cuda/code_rows.cuh"
#include "math/registry.hpp"
#include "math/top_k.hpp"

namespace isthmus::cuda {

namespace {

// Over the lanes of the warp, in every lane.
__device__ __forceinline__ int count_of_warp(int value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kWholeWarp, value, lanes);
    return value;
}

// Called by all lanes. `kept` may be null.
__device__ __forceinline__ void keep_largest(float* code, float* kept, std::int64_t cols, std::int64_t keep) {
    const unsigned lane = threadIdx.x % 32;
    const auto count_keys = [&](std::int32_t least) {
        int count = 0;
        for (std::int64_t j = lane; j < cols; j += 32) count += math::order_key(code[j]) >= least ? 1 : 0;
        return count_of_warp(count);
    };
    math::KthLargest kth;
    while (kth.searching()) kth.answer(count_keys(kth.candidate()) >= keep);
    const std::int32_t last = kth.key();
    std::int64_t ties = keep - (last == INT32_MAX ? 0 : count_keys(last + 1));  // still to be kept, lower ones first
    for (std::int64_t first = 0; first < cols; first += 32) {
        const std::int64_t j = first + lane;
        const std::int32_t key = j < cols ? math::order_key(code[j]) : INT32_MIN;
        const bool equal = j < cols && key == last;
        const unsigned equals = __ballot_sync(kWholeWarp, equal);
        const bool stays = j < cols && (key > last || (equal && __popc(equals & ((1U << lane) - 1U)) < ties));
        ties -= __popc(equals);
        if (j >= cols) continue;
        if (!stays) code[j] = 0.0F;
        if (kept != nullptr) kept[j] = stays ? 1.0F : 0.0F;
    }
}

// |x| and its sign are the loss and gradient of mae with target 0.
__device__ __forceinline__ float absolute(float x, float& sign) {
    float value;
    math::Mae::evaluate(x, 0.0F, value, sign);
    return value;
}

__global__ void __launch_bounds__(kCodeThreads) forward(CodeArgs c) {
    ISTHMUS_SHARED(double, partials, 8);
    ISTHMUS_SHARED(unsigned, last, 1);
    if (is_over(c)) return;
    const std::int64_t r = row_of_warp();
    const unsigned lane = threadIdx.x % 32;
    if (r < c.rows) {
        float* const code = c.code + r * c.stride;
        if (c.keep > 0) {
            keep_largest(code, c.kept != nullptr ? c.kept + r * c.stride : nullptr, c.cols, c.keep);
            for (std::int64_t j = lane; c.planes.data != nullptr && j < c.cols; j += 32) {
                store_unit(code[j], nullptr, 0, c.planes, r, j);
            }
        }
        double sum = 0.0;
        float sign;
        for (std::int64_t j = lane; c.penalties != nullptr && j < c.cols; j += 32) {
            sum += static_cast<double>(absolute(code[j], sign));
        }
        if (c.penalties != nullptr) store_penalty(c, r, sum);
    }
    add_up_penalties(c, partials, last);
}

template <class Act>
__global__ void __launch_bounds__(kCodeThreads) backward(CodeArgs c) {
    const std::int64_t r = row_of_warp();
    if (r >= c.rows) return;
    const float share = c.penalties != nullptr ? c.shares[r] : 0.0F;
    for (std::int64_t j = threadIdx.x % 32; j < c.cols; j += 32) {
        const std::int64_t at = r * c.stride + j;
        float sign;
        absolute(c.code[at], sign);
        float dz = math::fma(share, sign, c.dcode[at]);
        if constexpr (Act::id != Activation::linear) dz *= Act::derivative(c.kept_for_activation[at]);
        if (c.kept != nullptr && !(c.kept[at] > 0.0F)) dz = 0.0F;
        store_unit(dz, c.dz, at, c.dz_planes, r, j);
    }
}

}  // namespace

void code_forward(const CodeArgs& args, cudaStream_t stream) {
    launch(forward, code_blocks(args), dim3(kCodeThreads), 0, stream, args);
}

void code_backward(const CodeArgs& args, cudaStream_t stream) {
    math::visit(args.activation, [&](auto act) {
        launch(backward<decltype(act)>, code_blocks(args), dim3(kCodeThreads), 0, stream, args);
    });
}

}  // namespace isthmus::cuda
