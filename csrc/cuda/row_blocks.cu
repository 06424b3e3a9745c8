// SPDX-License-Identifier: Apache-2.0
// A few rows a block through all layers and back: gather, noise, forward, loss, input gradients. Each output is one
// chain over ascending k, as in gemm.cuh, and a row's error is summed as in loss.cu, so the bits are those of the
// layer-by-layer plan.
//
// Forward leaves act'(y or z) where dz will be: the way back then knows of no activation.
#include "cuda/launch.hpp"
#include "cuda/noise.cuh"
#include "cuda/reduction.cuh"
#include "cuda/row_passes.cuh"
#include "cuda/two_kernels.hpp"

namespace isthmus::cuda {

namespace {

static_assert(sizeof(RowBlocksArgs) <= 4096, "what a kernel's arguments may take in CUDA 12.0");

struct RowsOfBlock {
    std::int64_t first;  // of the batch
    int count;
};

template <class Kind>
__device__ __forceinline__ float4 corrupted_quad(const RowBlocksArgs& a, float4 four, int group, std::int64_t number,
                                                 const Noise& noise) {
    return corrupted<Kind>(four, static_cast<std::uint32_t>(group), a.layout.layers[0].in, number, noise);
}

// Rows, targets and weights to shared memory; x, which the weight gradient reads, to global memory, too.
__device__ __forceinline__ void gather_rows(const RowBlocksArgs& a, float* shared, const RowsOfBlock& rows) {
    const RowBlockLayout& net = a.layout;
    const std::int64_t begin = a.rows.begin() + rows.first;
    Noise noise = a.noise;
    noise.epoch = a.progress->noise_epoch;
    const int stride = net.layers[0].x_stride;
    const int quads_a_row = net.input_quads.n;
    for (int i = static_cast<int>(threadIdx.x); i < rows.count * quads_a_row; i += kRowBlockThreads) {
        const int r = net.input_quads.quotient(i);
        const int group = i - r * quads_a_row;
        const std::int64_t from = (a.rows.first + a.rows.positions[begin + r]) * a.rows.stride + 4 * group;
        const int to = r * stride + 4 * group;
        float4 four = *reinterpret_cast<const float4*>(a.rows.inputs + from);
        if (net.targets != net.inputs) {
            *reinterpret_cast<float4*>(shared + net.targets + to) =
                *reinterpret_cast<const float4*>(a.rows.targets + from);
        }
        if (noise.amount != 0.0F) {
            const std::int64_t number = a.rows.numbers[begin + r];
            four = noise.kind == NoiseKind::gaussian ? corrupted_quad<Gaussian>(a, four, group, number, noise)
                                                     : corrupted_quad<Mask>(a, four, group, number, noise);
        }
        *reinterpret_cast<float4*>(shared + net.inputs + to) = four;
        *reinterpret_cast<float4*>(a.x + ((rows.first + r) * quads_a_row + group) * 4) = four;
    }
    for (int r = static_cast<int>(threadIdx.x); r < net.rows; r += kRowBlockThreads) {
        const bool has_weight = a.rows.weights != nullptr && r < rows.count;
        shared[net.weights + r] = has_weight ? a.rows.weights[a.rows.first + a.rows.positions[begin + r]] : 1.0F;
    }
}

// A layer's results, to shared memory and, where the weight gradients read them, to global memory.
template <int kRows, int kCols>
__device__ __forceinline__ void put(float* shared, int place, int stride, float* global, int width,
                                    const RowsOfBlock& rows, int row, int col, int apart,
                                    const float (&values)[kRows][kCols]) {
    const int global_stride = 4 * quads(width);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kCols; ++j) {
            const int c = col + j * apart;
            if (c >= global_stride) continue;
            const float value = c < width ? values[i][j] : 0.0F;
            shared[place + (row + i) * stride + c] = value;
            if (global != nullptr && row + i < rows.count) {
                global[(rows.first + row + i) * global_stride + c] = value;
            }
        }
    }
}

// The sums of layer l become its output, and the last one's the loss.
template <int kRows, int kCols>
__device__ __forceinline__ void finish_forward(const RowBlocksArgs& a, float* shared, const RowsOfBlock& rows, int l,
                                               int row, int col, int apart, float (&y)[kRows][kCols]) {
    const RowBlockLayout& net = a.layout;
    const RowBlockLayer& layer = net.layers[l];
    const bool last = l + 1 == net.n_layers;
    float d[kRows][kCols] = {};
    add_bias(a.params + layer.flat_bias, layer.out, col, apart, y);
    activate(layer.activation, y, d);
    if (last) {
        take_loss(
            a.loss, shared + net.targets, net.layers[0].x_stride, layer.out, row, col, apart,
            [&](int r) { return shared[net.weights + r]; }, y, d);
    }
    put(shared, layer.y, layer.y_stride, last ? nullptr : a.y[l], layer.out, rows, row, col, apart, y);
    put(shared, layer.dz, layer.y_stride, last ? a.dz[l] : nullptr, layer.out, rows, row, col, apart, d);
}

// The sums that come back through layer l become dz of the layer below.
template <int kRows, int kCols>
__device__ __forceinline__ void finish_backward(const RowBlocksArgs& a, float* shared, const RowsOfBlock& rows, int l,
                                                int row, int col, int apart, float (&sums)[kRows][kCols]) {
    const RowBlockLayer& below = a.layout.layers[l - 1];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kCols; ++j) {
            const int c = col + j * apart;
            if (c < below.out) sums[i][j] *= shared[below.dz + (row + i) * below.y_stride + c];
        }
    }
    put(shared, below.dz, below.y_stride, a.dz[l - 1], below.out, rows, row, col, apart, sums);
}

// e_r, times its weight, as loss.cu has it: by a warp, or from 256 columns on by the block.
__device__ __forceinline__ void add_up_rows(const RowBlocksArgs& a, float* shared, const RowsOfBlock& rows) {
    const RowBlockLayout& net = a.layout;
    const RowBlockLayer& layer = net.layers[net.n_layers - 1];
    const float* const values = shared + layer.y;
    auto* const partials = reinterpret_cast<double*>(shared + net.partials);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const bool wide = layer.out >= kWideLoss;
    const int width = wide ? 256 : 32;
    __syncthreads();
    for (int r = wide ? 0 : warp; r < rows.count; r += wide ? 1 : 8) {
        double sum = 0.0;
        for (int j = wide ? static_cast<int>(threadIdx.x) : lane; j < layer.out; j += width) {
            sum += static_cast<double>(values[r * layer.y_stride + j]);
        }
        sum = sum_of_warp(sum);
        if (lane == 0) partials[8 * r + (wide ? warp : 0)] = sum;
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.x); r < rows.count; r += kRowBlockThreads) {
        const double sum = wide ? sum_of_warps(partials + 8 * r) : partials[8 * r];
        const double error = sum / static_cast<double>(layer.out);
        a.errors[rows.first + r] = static_cast<double>(shared[net.weights + r]) * error;
    }
}

__global__ void __launch_bounds__(kRowBlockThreads, 1) row_blocks(RowBlocksArgs a) {
    ISTHMUS_DYNAMIC_SHARED(float, shared);
    const bool over = a.progress->first_diverged() != Progress::kNone;
    if (blockIdx.x == 0 && threadIdx.x == 0) a.progress->updating = over ? Progress::kNone : a.progress->step;
    if (over) return;

    const std::int64_t first = std::int64_t{blockIdx.x} * a.layout.rows;
    const std::int64_t left = a.count - first;
    const RowsOfBlock rows{first, left < a.layout.rows ? static_cast<int>(left) : a.layout.rows};
    WeightStream weights(a.layout, a.params, shared);
    gather_rows(a, shared, rows);
    for (int p = 0; p < a.layout.n_passes; ++p) {
        const WeightPass& pass = a.layout.passes[p];
        if (p == a.layout.n_layers) add_up_rows(a, shared, rows);
        if (pass.forward) {
            run_pass<true>(a.layout, shared, pass, weights, [&](int row, int col, int apart, auto& sums) {
                finish_forward(a, shared, rows, pass.layer, row, col, apart, sums);
            });
        } else {
            run_pass<false>(a.layout, shared, pass, weights, [&](int row, int col, int apart, auto& sums) {
                finish_backward(a, shared, rows, pass.layer, row, col, apart, sums);
            });
        }
    }
    if (a.layout.n_passes == a.layout.n_layers) add_up_rows(a, shared, rows);
}

}  // namespace

void run_row_blocks(const RowBlocksArgs& args, cudaStream_t stream) {
    const std::int64_t blocks = (args.count + args.layout.rows - 1) / args.layout.rows;
    launch(row_blocks, dim3(static_cast<unsigned>(blocks)), dim3(kRowBlockThreads),
           static_cast<std::size_t>(args.layout.floats) * sizeof(float), stream, args);
}

}  // namespace isthmus::cuda
