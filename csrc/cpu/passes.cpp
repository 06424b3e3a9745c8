// SPDX-License-Identifier: Apache-2.0
#include "cpu/passes.hpp"

#include <cstring>

namespace isthmus::cpu {

namespace {

void gather(const Network& network, const RowSource& source, std::span<const std::int64_t> rows, const Noise& noise,
            std::int64_t begin, std::int64_t end, Workspace& work) {
    const std::int64_t n_features = network.n_features();
    const std::int64_t stride = network.layers().front().in_stride;
    for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t number = rows[static_cast<std::size_t>(r)];
        float* x = work.x.data() + r * stride;
        const float* clean = source.inputs.row(number);
        std::memcpy(x, clean, static_cast<std::size_t>(n_features) * sizeof(float));
        if (noise.amount > 0.0F) network.isa().corrupt({noise, number, n_features, x});
        const auto i = static_cast<std::size_t>(r);
        work.targets[i] = source.targets ? source.targets->row(number) : clean;
        work.scales[i] = source.weight(number) / static_cast<float>(n_features);
    }
}

void forward(const Network& network, const float* params, std::int64_t row, std::int64_t count, Workspace& work) {
    const float* input = work.x.data() + row * network.layers().front().in_stride;
    for (std::size_t i = 0; i < network.layers().size(); ++i) {
        const Layer& layer = network.layers()[i];
        float* y = work.y[i].data() + row * layer.out_stride;
        float* z = layer.needs_z ? work.dz[i].data() + row * layer.out_stride : nullptr;
        network.isa().dense_forward({count, layer.in, layer.out, input, layer.in_stride, params + layer.weight,
                                     params + layer.bias, network.training_activation(i), y, layer.out_stride, z});
        input = y;
    }
}

// dz of the last layer: the loss's gradient times the activation's. z is kept in dz, so then dy takes y's place.
void loss_gradient(const Network& network, std::int64_t row, std::int64_t count, Workspace& work) {
    const std::size_t last = network.layers().size() - 1;
    const Layer& layer = network.layers()[last];
    const Activation activation = network.training_activation(last);
    float* y = work.y[last].data() + row * layer.out_stride;
    float* dz = work.dz[last].data() + row * layer.out_stride;
    float* dy = layer.needs_z ? y : dz;
    const auto r = static_cast<std::size_t>(row);
    network.isa().loss({network.loss(), count, layer.out, y, layer.out_stride, work.targets.data() + r,
                        work.scales.data() + r, work.errors.data() + r, dy, layer.out_stride, nullptr, 0});
    for (std::int64_t i = row; i < row + count; ++i)
        work.errors[static_cast<std::size_t>(i)] /= static_cast<double>(layer.out);
    if (activation == Activation::linear) return;
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t offset = i * layer.out_stride;
        network.isa().activation_backward(activation, layer.forward.padded_width(), (layer.needs_z ? dz : y) + offset,
                                          dy + offset, dz + offset);
    }
}

void backward(const Network& network, const float* transposed, std::int64_t row, std::int64_t count, Workspace& work) {
    for (std::size_t i = network.layers().size() - 1; i > 0; --i) {
        const Layer& layer = network.layers()[i];
        const Layer& below = network.layers()[i - 1];
        const std::int64_t offset = row * below.out_stride;
        float* dx = work.dz[i - 1].data() + offset;
        network.isa().dense_backward_input({count, layer.in, layer.out, work.dz[i].data() + row * layer.out_stride,
                                            layer.out_stride, transposed + layer.transposed, below.activation,
                                            below.needs_z ? dx : work.y[i - 1].data() + offset, below.out_stride, dx,
                                            below.out_stride});
    }
}

}  // namespace

void forward_backward(const Network& network, Weights weights, const RowSource& source,
                      std::span<const std::int64_t> rows, const Noise& noise, std::int64_t begin, std::int64_t end,
                      Workspace& work) {
    const std::int64_t block = row_block(network);
    for (std::int64_t row = begin; row < end; row += block) {
        const std::int64_t count = end - row < block ? end - row : block;
        gather(network, source, rows, noise, row, row + count, work);
        forward(network, weights.params, row, count, work);
        loss_gradient(network, row, count, work);
        backward(network, weights.transposed, row, count, work);
    }
}

void weight_tile_gradient(const Network& network, const WeightTile& tile, const Workspace& work, std::int64_t rows,
                          bool accumulate, float* dw, float* db) {
    const Layer& layer = network.layers()[tile.layer];
    const float* x = tile.layer == 0 ? work.x.data() : work.y[tile.layer - 1].data();
    const float* dz = work.dz[tile.layer].data() + tile.panel * layer.forward.panel;
    const std::int64_t width = layer.forward.panel_width(tile.panel);
    network.isa().weight_gradient(
        {rows, x, layer.in_stride, dz, layer.out_stride, tile.begin, tile.end, width, accumulate, dw});
    if (tile.begin == 0) network.isa().bias_gradient({rows, dz, layer.out_stride, width, accumulate, db});
}

TilePlace tile_place(const Network& network, const WeightTile& tile) {
    const Layer& layer = network.layers()[tile.layer];
    const std::int64_t width = layer.forward.panel_width(tile.panel);
    return {layer.weight + layer.forward.panel_offset(tile.panel) + tile.begin * width, (tile.end - tile.begin) * width,
            layer.bias + tile.panel * layer.forward.panel, tile.begin == 0 ? width : 0};
}

}  // namespace isthmus::cpu
