// SPDX-License-Identifier: Apache-2.0
#include "cuda/passes.hpp"

#include <algorithm>

namespace isthmus::cuda {

Workspace::Workspace(const Network& network, const Limits& limits, std::int64_t n, cudaStream_t stream)
    : rows(n),
      errors(n),
      parts(stream, std::any_of(network.layers().begin(), network.layers().end(),
                                [&](const Layer& layer) {
                                    return takes_wgmma(network.arithmetic(), layer.in, layer.out, limits);
                                })),
      memory_(n * network.floats_a_row()) {
    float* next = memory_.data();
    const auto take = [&](std::int64_t width) {
        float* const matrix = next;
        next += n * row_stride(width);
        return matrix;
    };
    const int count = plane_count(network.arithmetic());
    const auto take_planes = [&](std::int64_t width) {
        const Planes planes{reinterpret_cast<Bfloat16*>(next), plane_stride(width), n * plane_stride(width), count};
        next += n * count * plane_stride(width) / 2;
        return planes;
    };
    const std::vector<Layer>& layers = network.layers();
    y.resize(layers.size());
    dz.resize(layers.size());
    if (count > 0) {
        x.planes = take_planes(layers.front().in);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            if (i + 1 < layers.size()) y[i].planes = take_planes(layers[i].out);
            dz[i].planes = take_planes(layers[i].out);
        }
    } else {
        x.floats = take(layers.front().in);
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
        y[i].floats = take(layers[i].out);
        if (count == 0 || layers[i].needs_z) dz[i].floats = take(layers[i].out);
    }
}

void run_layer(const Network& network, std::size_t i, Activation activation, const Weights& weights, std::int64_t rows,
               const LayerMatrix& x, const LayerMatrix& y, float* z, const Limits& limits, cudaStream_t stream) {
    const Layer& layer = network.layers()[i];
    dense_forward({rows, layer.in, layer.out, x.floats, x.stride != 0 ? x.stride : layer.in_stride(),
                   weights.params + layer.weight, weights.params + layer.bias, activation, y.floats, z,
                   layer.out_stride(), x.planes, weights.planes->of(i), y.planes},
                  product_plan(network.arithmetic(), rows, layer.out, layer.in, layer.out, limits), stream);
}

void BatchGradient::forward(const Piece& piece) const {
    gather({piece.rows, piece.count, network.n_features(), piece.noise, work.x.floats, row_stride(network.n_features()),
            progress, work.x.planes},
           stream);
    const LayerMatrix* input = &work.x;
    for (std::size_t i = 0; i < network.layers().size(); ++i) {
        const Layer& layer = network.layers()[i];
        run_layer(network, i, layer.training_activation, weights, piece.count, *input, work.y[i],
                  layer.needs_z ? work.dz[i].floats : nullptr, limits, stream);
        input = &work.y[i];
    }
    const std::size_t last = network.layers().size() - 1;
    const Layer& layer = network.layers()[last];
    LossArgs args{};
    args.loss = network.loss();
    args.activation = layer.training_activation;
    args.rows = piece.count;
    args.cols = layer.out;
    args.y = work.y[last].floats;
    args.y_stride = layer.out_stride();
    args.batch = piece.rows;
    args.kept = layer.needs_z ? work.dz[last].floats : work.y[last].floats;
    args.divisor = static_cast<float>(layer.out);
    args.dz = work.dz_floats(last);
    args.dz_planes = work.dz[last].planes;
    args.errors = work.errors.data();
    args.progress = progress;
    args.opens = piece.opens;
    args.closes = piece.closes;
    loss(args, stream);
}

void BatchGradient::backward(const Piece& piece) const {
    const Arithmetic arithmetic = network.arithmetic();
    for (std::size_t i = network.layers().size(); i-- > 0;) {
        const Layer& layer = network.layers()[i];
        const LayerMatrix& input = i == 0 ? work.x : work.y[i - 1];
        dense_backward_weight(
            {piece.count, layer.in, layer.out, input.floats, layer.in_stride(), work.dz_floats(i), layer.out_stride(),
             !piece.opens, gradient + layer.weight, gradient + layer.bias, input.planes, work.dz[i].planes},
            product_plan(arithmetic, layer.out, layer.in, layer.in, layer.out, limits), work.parts, stream);
        if (i == 0) break;
        const Layer& below = network.layers()[i - 1];
        dense_backward_input({piece.count, layer.in, layer.out, work.dz_floats(i), layer.out_stride(),
                              weights.params + layer.weight, below.training_activation,
                              below.needs_z ? work.dz[i - 1].floats : work.y[i - 1].floats, work.dz_floats(i - 1),
                              below.out_stride(), work.dz[i].planes, weights.planes->of(i), work.dz[i - 1].planes},
                             product_plan(arithmetic, piece.count, layer.in, layer.in, layer.out, limits), stream);
    }
}

}  // namespace isthmus::cuda
