// SPDX-License-Identifier: Apache-2.0
#include "cuda/passes.hpp"

#include <algorithm>

#include "cuda/tied.hpp"

namespace isthmus::cuda {

Workspace::Workspace(const Network& network, const Limits& limits, std::int64_t n, cudaStream_t stream)
    : rows(n),
      shares(network.code() != nullptr ? n : 0),
      errors(n),
      penalties(network.code() != nullptr && network.code()->penalty ? n : 0),
      parts(stream, std::any_of(network.layers().begin(), network.layers().end(),
                                [&](const Layer& layer) {
                                    return takes_wgmma(network.arithmetic(), layer.in, layer.out, limits);
                                })),
      after_code_(network.code() != nullptr ? network.code()->layer + 1 : 0),
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
        if (network.code() != nullptr && network.code()->sampled) drawn.planes = take_planes(network.code()->width);
    } else {
        x.floats = take(layers.front().in);
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
        y[i].floats = take(layers[i].out);
        if (count == 0 || layers[i].needs_z) dz[i].floats = take(layers[i].out);
    }
    if (const CodeStage* const code = network.code()) {
        dcode = take(code->width);
        if (code->keep > 0) kept = take(code->width);
        if (code->sampled) {
            drawn.floats = take(code->width);
            eps = take(code->width);
        }
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
    for (std::size_t i = 0; i < network.layers().size(); ++i) {
        const Layer& layer = network.layers()[i];
        run_layer(network, i, layer.training_activation, weights, piece.count, work.input(i), work.y[i],
                  layer.needs_z ? work.dz[i].floats : nullptr, limits, stream);
        if (network.code() == nullptr || network.code()->layer != i) continue;
        if (network.code()->sampled) {
            sample_forward(code_args(piece), stream);
        } else {
            code_forward(code_args(piece), stream);
        }
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

CodeArgs BatchGradient::code_args(const Piece& piece) const {
    const CodeStage& code = *network.code();
    const Layer& layer = network.layers()[code.layer];
    const LayerMatrix& changed = work.input(code.layer + 1);
    CodeArgs args{};
    args.rows = piece.count;
    args.cols = code.width;
    args.keep = code.keep;
    args.y = work.y[code.layer].floats;
    args.y_stride = layer.out_stride();
    args.code = changed.floats;
    args.stride = row_stride(code.width);
    args.planes = changed.planes;
    args.kept = work.kept;
    args.eps = work.eps;
    args.seed = piece.noise.seed;
    args.batch = piece.rows;
    // A penalty's share in the gradient of one unit: l1 is a mean over the code, a divergence is divided by features.
    args.divisor = static_cast<double>(code.sampled ? network.n_features() : code.width);
    if (code.penalty) {
        args.penalties = work.penalties.data();
        args.share = static_cast<float>(code.penalty->weight / args.divisor);
    }
    args.shares = work.shares.data();
    args.progress = progress;
    args.opens = piece.opens;
    args.activation = layer.training_activation;
    args.kept_for_activation = layer.needs_z ? work.dz[code.layer].floats : work.y[code.layer].floats;
    args.dcode = work.dcode;
    args.dz = work.dz_floats(code.layer);
    args.dz_planes = work.dz[code.layer].planes;
    return args;
}

void BatchGradient::backward(const Piece& piece) const {
    const Arithmetic arithmetic = network.arithmetic();
    for (std::size_t i = network.layers().size(); i-- > 0;) {
        const Layer& layer = network.layers()[i];
        const LayerMatrix& input = work.input(i);
        dense_backward_weight(
            {piece.count, layer.in, layer.out, input.floats, layer.in_stride(), work.dz_floats(i), layer.out_stride(),
             !piece.opens, gradient + layer.dweight, gradient + layer.bias, input.planes, work.dz[i].planes},
            product_plan(arithmetic, layer.out, layer.in, layer.in, layer.out, limits), work.parts, stream);
        if (i == 0) {
            if (piece.closes) add_tied_gradients(network, gradient, stream);
            break;
        }
        const Layer& below = network.layers()[i - 1];
        const ProductPlan plan = product_plan(arithmetic, piece.count, layer.in, layer.in, layer.out, limits);
        if (network.code() != nullptr && network.code()->layer == i - 1) {
            dense_backward_input({piece.count,
                                  layer.in,
                                  layer.out,
                                  work.dz_floats(i),
                                  layer.out_stride(),
                                  weights.params + layer.weight,
                                  Activation::linear,
                                  work.dcode,
                                  work.dcode,
                                  layer.in_stride(),
                                  work.dz[i].planes,
                                  weights.planes->of(i),
                                  {}},
                                 plan, stream);
            if (network.code()->sampled) {
                sample_backward(code_args(piece), stream);
            } else {
                code_backward(code_args(piece), stream);
            }
            continue;
        }
        dense_backward_input({piece.count, layer.in, layer.out, work.dz_floats(i), layer.out_stride(),
                              weights.params + layer.weight, below.training_activation,
                              below.needs_z ? work.dz[i - 1].floats : work.y[i - 1].floats, work.dz_floats(i - 1),
                              below.out_stride(), work.dz[i].planes, weights.planes->of(i), work.dz[i - 1].planes},
                             plan, stream);
    }
}

}  // namespace isthmus::cuda
