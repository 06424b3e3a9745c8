// SPDX-License-Identifier: Apache-2.0
#include "cuda/passes.hpp"

namespace isthmus::cuda {

Workspace::Workspace(const Network& network, std::int64_t n, cudaStream_t stream)
    : rows(n), errors(n), parts(stream), memory_(n * network.floats_a_row()) {
    float* next = memory_.data();
    const auto take = [&](std::int64_t stride) {
        float* const matrix = next;
        next += n * stride;
        return matrix;
    };
    x = take(network.layers().front().in_stride());
    for (const Layer& layer : network.layers()) {
        y.push_back(take(layer.out_stride()));
        dz.push_back(take(layer.out_stride()));
    }
}

void run_layer(const Layer& layer, Activation activation, const float* params, std::int64_t rows, const float* x,
               float* y, float* z, const Limits& limits, cudaStream_t stream) {
    dense_forward({rows, layer.in, layer.out, x, layer.in_stride(), params + layer.weight, params + layer.bias,
                   activation, y, z, layer.out_stride()},
                  tile_for(rows, layer.out, limits), stream);
}

void BatchGradient::forward(const Piece& piece) const {
    gather({piece.rows, piece.count, network.n_features(), piece.noise, work.x, row_stride(network.n_features()),
            progress},
           stream);
    const float* input = work.x;
    for (std::size_t i = 0; i < network.layers().size(); ++i) {
        const Layer& layer = network.layers()[i];
        run_layer(layer, layer.training_activation, params, piece.count, input, work.y[i],
                  layer.needs_z ? work.dz[i] : nullptr, limits, stream);
        input = work.y[i];
    }
    const std::size_t last = network.layers().size() - 1;
    const Layer& layer = network.layers()[last];
    LossArgs args{};
    args.loss = network.loss();
    args.activation = layer.training_activation;
    args.rows = piece.count;
    args.cols = layer.out;
    args.y = work.y[last];
    args.y_stride = layer.out_stride();
    args.batch = piece.rows;
    args.kept = layer.needs_z ? work.dz[last] : work.y[last];
    args.divisor = static_cast<float>(layer.out);
    args.dz = work.dz[last];
    args.errors = work.errors.data();
    args.progress = progress;
    args.opens = piece.opens;
    args.closes = piece.closes;
    loss(args, stream);
}

void BatchGradient::backward(const Piece& piece) const {
    for (std::size_t i = network.layers().size(); i-- > 0;) {
        const Layer& layer = network.layers()[i];
        const float* const input = i == 0 ? work.x : work.y[i - 1];
        dense_backward_weight({piece.count, layer.in, layer.out, input, layer.in_stride(), work.dz[i],
                               layer.out_stride(), !piece.opens, gradient + layer.weight, gradient + layer.bias},
                              tile_for(layer.out, layer.in, limits), work.parts, stream);
        if (i == 0) break;
        const Layer& below = network.layers()[i - 1];
        dense_backward_input({piece.count, layer.in, layer.out, work.dz[i], layer.out_stride(), params + layer.weight,
                              below.training_activation, below.needs_z ? work.dz[i - 1] : work.y[i - 1], work.dz[i - 1],
                              below.out_stride()},
                             tile_for(piece.count, layer.in, limits), stream);
    }
}

}  // namespace isthmus::cuda
