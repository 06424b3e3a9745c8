// SPDX-License-Identifier: Apache-2.0
#include "cuda/two_kernels_step.hpp"

namespace isthmus::cuda {

TwoKernelsStep::TwoKernelsStep(const Network& network, const RowBlockLayout& layout, Optimizer optimizer, float* state,
                               const BatchRows& rows, const Noise& noise, const Workspace& work,
                               const PartBuffers& parts) {
    const std::vector<Layer>& layers = network.layers();
    of_rows_.layout = layout;
    of_rows_.loss = network.loss();
    of_rows_.params = state;
    of_rows_.rows = rows;
    of_rows_.noise = noise;
    of_rows_.x = work.x.floats;
    of_rows_.errors = work.errors.data();
    of_rows_.progress = rows.table.progress;

    of_gradients_.optimizer = optimizer;
    of_gradients_.n_layers = layout.n_layers;
    of_gradients_.state = state;
    of_gradients_.flat_size = network.flat_size();
    of_gradients_.part_sums = parts.sums.data();
    of_gradients_.part_bias_sums = parts.bias_sums.data();
    of_gradients_.blocks_arrived = parts.blocks_arrived.data();
    of_gradients_.errors = work.errors.data();
    of_gradients_.table = rows.table;
    for (std::size_t l = 0; l < layers.size(); ++l) {
        of_rows_.y[l] = work.y[l].floats;
        of_rows_.dz[l] = work.dz[l].floats;
        GradientUpdateArgs::OfLayer& layer = of_gradients_.layers[l];
        layer.dz = work.dz[l].floats;
        layer.x = l == 0 ? work.x.floats : work.y[l - 1].floats;
        layer.dz_stride = static_cast<int>(layers[l].out_stride());
        layer.x_stride = static_cast<int>(layers[l].in_stride());
        layer.out = static_cast<int>(layers[l].out);
        layer.in = static_cast<int>(layers[l].in);
        layer.flat_weight = static_cast<int>(layers[l].weight);
        layer.flat_bias = static_cast<int>(layers[l].bias);
    }
}

void TwoKernelsStep::queue(std::int64_t count, cudaStream_t stream) {
    of_rows_.count = count;
    run_row_blocks(of_rows_, stream);

    of_gradients_.count = static_cast<int>(count);
    int blocks = 0;
    for (int l = 0; l < of_gradients_.n_layers; ++l) {
        GradientUpdateArgs::OfLayer& layer = of_gradients_.layers[l];
        const RowParts parts = row_parts(count, layer.out, layer.in);
        constexpr auto kSide = static_cast<int>(side(TileSize::small));
        layer.rows_blocks = rounded_up(layer.out, kSide);
        layer.cols_blocks = rounded_up(layer.in, kSide);
        layer.parts = static_cast<int>(parts.count);
        layer.part_rows = static_cast<int>(parts.rows);
        blocks += layer.rows_blocks * layer.cols_blocks * layer.parts;
        layer.end_block = blocks;
    }
    run_gradient_updates(of_gradients_, stream);
}

}  // namespace isthmus::cuda
