// SPDX-License-Identifier: Apache-2.0
// The norm that a gradient is clipped to, and the optimizer's update.
#include "cuda/elementwise.hpp"
#include "cuda/planes.cuh"
#include "cuda/reduction.cuh"
#include "math/registry.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kThreads = 256;

// In double, where a square of a float cannot overflow.
__global__ void __launch_bounds__(kThreads) norm(NormArgs g) {
    ISTHMUS_SHARED(double, partials, 8);
    ISTHMUS_SHARED(unsigned, last, 1);
    const float scale = g.table.constants[g.table.updating()].scale;
    double sum = 0.0;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < g.n / 4;
         i += std::int64_t{gridDim.x} * kThreads) {
        const float4 four = reinterpret_cast<const float4*>(g.gradient)[i];
        const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const auto value = static_cast<double>(values[j] * scale);
            sum += value * value;
        }
    }
    sum = sum_of_block(sum, partials);
    if (threadIdx.x == 0) g.partials[blockIdx.x] = sum;
    if (!is_last_block(&g.table.progress->blocks_arrived, gridDim.x, last)) return;
    const double squares = sum_of_written(g.partials, gridDim.x, partials);
    if (threadIdx.x == 0) {
        const double length = sqrt(squares);
        g.table.progress->clip_factor = length > g.clip_norm ? static_cast<float>(g.clip_norm / length) : 1.0F;
    }
}

template <class Opt>
__global__ void __launch_bounds__(kThreads) update_parameters(UpdateArgs u) {
    Progress* const progress = u.table.progress;
    if (progress != nullptr && progress->diverged != Progress::kNone) return;
    const StepConstants c = u.table.constants[u.table.updating()];
    if (c.updates == 0.0F) return;
    const float scale = u.clipped ? c.scale * progress->clip_factor : c.scale;
    auto* const params = reinterpret_cast<float4*>(u.param);
    auto* const ms = reinterpret_cast<float4*>(u.m);
    auto* const vs = reinterpret_cast<float4*>(u.v);
    float suspect = 0.0F;  // x * 0 is NaN for a NaN or an infinity, and stays NaN in the sum
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < u.n / 4;
         i += std::int64_t{gridDim.x} * kThreads) {
        const float4 zero = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
        const float4 gradient = reinterpret_cast<const float4*>(u.gradient)[i];
        float4 param = params[i];
        float4 m = Opt::uses_m ? ms[i] : zero;
        float4 v = Opt::uses_v ? vs[i] : zero;
        Opt::update(c.update, param.x, gradient.x * scale, m.x, v.x);
        Opt::update(c.update, param.y, gradient.y * scale, m.y, v.y);
        Opt::update(c.update, param.z, gradient.z * scale, m.z, v.z);
        Opt::update(c.update, param.w, gradient.w * scale, m.w, v.w);
        params[i] = param;
        if (u.planes.data != nullptr) {
            float values[4] = {param.x, param.y, param.z, param.w};
            store_planes(u.planes, 0, 4 * i, values);
        }
        if constexpr (Opt::uses_m) ms[i] = m;
        if constexpr (Opt::uses_v) vs[i] = v;
        suspect += (param.x * 0.0F + param.y * 0.0F) + (param.z * 0.0F + param.w * 0.0F);
        if constexpr (Opt::uses_v) suspect += (v.x * 0.0F + v.y * 0.0F) + (v.z * 0.0F + v.w * 0.0F);
    }
    if (progress != nullptr && suspect != 0.0F) {
        atomicMin(&progress->overflowed, static_cast<unsigned long long>(progress->updating));
    }
}

}  // namespace

void clip_factor(const NormArgs& args, cudaStream_t stream) {
    const auto blocks = std::min<std::int64_t>((args.n / 4 + kThreads - 1) / kThreads, kNormBlocks);
    launch(norm, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, args);
}

void update(const UpdateArgs& args, cudaStream_t stream) {
    math::visit(args.optimizer, [&](auto opt) {
        launch(update_parameters<decltype(opt)>, dim3(blocks_for(args.n / 4)), dim3(kThreads), 0, stream, args);
    });
}

}  // namespace isthmus::cuda
