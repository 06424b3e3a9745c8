// SPDX-License-Identifier: Apache-2.0
#include "cuda/few_rows.hpp"

#include "cuda/row_passes.cuh"

namespace isthmus::cuda {

namespace {

__global__ void __launch_bounds__(kRowBlockThreads, 1) few_rows(FewRowsArgs a) {
    ISTHMUS_DYNAMIC_SHARED(float, shared);
    const RowBlockLayout& net = a.layout;
    const auto row = static_cast<std::int64_t>(blockIdx.x);
    WeightStream weights(net, a.params, shared);
    const int x_quads = quads(net.layers[0].in);
    for (int i = static_cast<int>(threadIdx.x); i < x_quads; i += kRowBlockThreads) {
        reinterpret_cast<float4*>(shared + net.inputs)[i] = reinterpret_cast<const float4*>(a.x + row * a.x_stride)[i];
    }
    for (int p = 0; p < net.n_passes; ++p) {
        const RowBlockLayer& layer = net.layers[p];
        const bool last = p + 1 == net.n_passes;
        // Nothing is written beyond the caller's columns.
        const int y_width = last ? layer.out : 4 * quads(layer.out);
        float* const y = last ? a.y + row * a.y_stride : shared + layer.y;
        run_pass<true>(net, shared, net.passes[p], weights, [&](int, int col, int apart, auto& sums) {
            add_bias(a.params + layer.flat_bias, layer.out, col, apart, sums);
            activate(layer.activation, sums);
            int c = col;
#pragma unroll
            for (const float value : sums[0]) {
                // What the next layer's sums meet beyond the width is 0: act(0) need not be.
                if (c < y_width) y[c] = c < layer.out ? value : 0.0F;
                c += apart;
            }
        });
    }
}

}  // namespace

void run_few_rows(const FewRowsArgs& args, cudaStream_t stream) {
    launch(few_rows, dim3(static_cast<unsigned>(args.count)), dim3(kRowBlockThreads),
           static_cast<std::size_t>(args.layout.floats) * sizeof(float), stream, args);
}

}  // namespace isthmus::cuda
