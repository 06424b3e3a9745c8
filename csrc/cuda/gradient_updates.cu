// SPDX-License-Identifier: Apache-2.0
// The weight gradients of all layers in one launch, each with the update of its parameters where its sums end: no
// gradient is ever stored. The sums are those of weight_gradient.cu, parts and all.
#include "cuda/epilogues.cuh"
#include "cuda/gemm.cuh"
#include "cuda/reduction.cuh"
#include "cuda/two_kernels.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

namespace {

static_assert(sizeof(GradientUpdateArgs) <= 4096, "what a kernel's arguments may take in CUDA 12.0");

using Shape = SmallTile;  // of networks that take this plan there are few tiles

// Updates weights and biases; a parameter's moments stand flat_size and twice that behind it.
template <class Opt>
struct UpdateAtEnd : GradientParts {
    template <int kRun>
    __device__ __forceinline__ void start(int, int, int, float (&)[kRun]) const {}
    template <int kRun>
    __device__ __forceinline__ void finish(int m, int n, int valid, const float (&values)[kRun]) const {
        update(weight + static_cast<std::int64_t>(m) * in + n, valid, values);
    }
    __device__ __forceinline__ float* sum_of_a(int m) const { return bias + m; }
    __device__ __forceinline__ float first_sum(const float*) const { return 0.0F; }
    __device__ __forceinline__ void finish_sum(float* to, float sum) const {
        const float values[1] = {sum};
        update(to, 1, values);
    }

    template <int kRun>
    __device__ __forceinline__ void update(float* params, int valid, const float (&gradient)[kRun]) const {
        float p[kRun] = {}, m[kRun] = {}, v[kRun] = {};
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            if (j >= valid) continue;
            p[j] = params[j];
            if constexpr (Opt::uses_m) m[j] = params[flat_size + j];
            if constexpr (Opt::uses_v) v[j] = params[2 * flat_size + j];
        }
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            if (j >= valid) continue;
            Opt::update(constants->update, p[j], gradient[j] * constants->scale, m[j], v[j]);
            params[j] = p[j];
            if constexpr (Opt::uses_m) params[flat_size + j] = m[j];
            if constexpr (Opt::uses_v) params[2 * flat_size + j] = v[j];
            *suspect += p[j] * 0.0F + v[j] * 0.0F;  // NaN for a NaN or an infinity
        }
    }

    float* weight;
    float* bias;
    int in;
    std::int64_t flat_size;
    const StepConstants* constants;
    float* suspect;  // of the thread
};

template <class Opt>
__global__ void __launch_bounds__(Shape::kThreads, 4) gradient_updates(GradientUpdateArgs a) {
    Progress& progress = *a.table.progress;
    if (progress.updating == Progress::kNone) return;
    int l = 0;
    int first = 0;
    const auto block = static_cast<int>(blockIdx.x);
    while (l < a.n_layers && block >= a.layers[l].end_block) first = a.layers[l++].end_block;
    if (l == a.n_layers) {
        ISTHMUS_SHARED(double, partials, 8);
        const double sum = sum_of_written<Shape::kThreads>(a.errors, a.count, partials);
        if (threadIdx.x == 0) progress.add_loss(sum, true, true);
        return;
    }
    const StepConstants constants = a.table.constants[a.table.updating()];
    if (constants.updates == 0.0F) return;
    const GradientUpdateArgs::OfLayer& layer = a.layers[l];
    const int tiles = layer.rows_blocks * layer.cols_blocks;
    const int part = (block - first) / tiles;
    const int tile = block - first - part * tiles;
    const int cols_block = tile / layer.rows_blocks;
    float suspect = 0.0F;
    const UpdateAtEnd<Opt> epilogue{{layer.part_rows,
                                     layer.out,
                                     {a.part_sums + l * kPartFloats, layer.in},
                                     a.part_bias_sums + l * kBiasPartFloats,
                                     a.blocks_arrived + l * kPartBlocks},
                                    a.state + layer.flat_weight,
                                    a.state + layer.flat_bias,
                                    layer.in,
                                    a.flat_size,
                                    &constants,
                                    &suspect};
    gemm_block<Shape, Contiguous::other, Contiguous::other>(
        {layer.dz, layer.dz_stride}, {layer.x, layer.x_stride}, layer.out, layer.in, a.count, epilogue,
        {static_cast<unsigned>(tile - cols_block * layer.rows_blocks), static_cast<unsigned>(cols_block),
         static_cast<unsigned>(part), static_cast<unsigned>(layer.rows_blocks), static_cast<unsigned>(layer.parts)});
    if (suspect != 0.0F) atomicMin(&progress.overflowed, static_cast<unsigned long long>(progress.updating));
}

}  // namespace

void run_gradient_updates(const GradientUpdateArgs& args, cudaStream_t stream) {
    const int blocks = args.layers[args.n_layers - 1].end_block + 1;
    math::visit(args.optimizer, [&](auto opt) {
        launch(gradient_updates<decltype(opt)>, dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), 0, stream,
               args);
    });
}

}  // namespace isthmus::cuda
