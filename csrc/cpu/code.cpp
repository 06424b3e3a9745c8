// SPDX-License-Identifier: Apache-2.0
#include "cpu/code.hpp"

#include <algorithm>

namespace isthmus::cpu {

namespace {

// To a code that is drawn belong twice as many values, and gradients by them, as it has units.
void draw(const Network& network, std::int64_t key, const Noise& noise, std::int64_t row, Workspace& work) {
    const CodeStage& code = *network.code();
    const std::int64_t at = row * activation_stride(code.width);
    float* const eps = work.eps + at;
    std::fill_n(eps, code.width, 0.0F);
    const Noise standard{NoiseKind::gaussian, 1.0F, noise.seed, noise.epoch};
    network.isa().corrupt({math::Purpose::sample, standard, key, code.width, eps});
    const float* const parameters = work.y[code.layer] + row * network.layers()[code.layer].out_stride;
    const double divergence = network.isa().sample({code.width, parameters, eps, work.drawn + at});
    work.penalties[static_cast<std::size_t>(row)] = divergence / static_cast<double>(network.n_features());
}

void draw_backward(const Network& network, float weight, std::int64_t row, Workspace& work) {
    const CodeStage& code = *network.code();
    const Layer& layer = network.layers()[code.layer];
    const std::int64_t at = row * activation_stride(code.width);
    float* const dz = work.dz[code.layer] + row * layer.out_stride;
    network.isa().sample_gradient(
        {code.width, work.y[code.layer] + row * layer.out_stride, work.eps + at, work.dcode + at, weight, dz});
    std::fill(dz + layer.out, dz + layer.forward.padded_width(), 0.0F);
}

void keep_and_measure(const Network& network, std::int64_t row, Workspace& work) {
    const CodeStage& code = *network.code();
    const std::int64_t at = row * network.layers()[code.layer].out_stride;
    float* const y = work.y[code.layer] + at;
    if (code.keep > 0) network.isa().keep_largest({code.width, code.keep, y, work.kept + at});
    if (code.penalty) {
        work.penalties[static_cast<std::size_t>(row)] =
            network.isa().sum_of_absolutes(y, code.width) / static_cast<double>(code.width);
    }
}

void keep_backward(const Network& network, float weight, std::int64_t row, Workspace& work) {
    const CodeStage& code = *network.code();
    const Layer& layer = network.layers()[code.layer];
    const std::int64_t at = row * layer.out_stride;
    const float* const y = work.y[code.layer] + at;
    float* const dcode = work.dcode + at;
    float* const dz = work.dz[code.layer] + at;
    network.isa().code_gradient({code.width, y, code.keep > 0 ? work.kept + at : nullptr, weight, dcode});
    network.isa().activation_backward(layer.activation, layer.forward.padded_width(), layer.needs_z ? dz : y, dcode,
                                      dz);
}

}  // namespace

void forward_code(const Network& network, const RowSource& source, std::span<const std::int64_t> rows,
                  const Noise& noise, std::int64_t row, std::int64_t count, Workspace& work) {
    const CodeStage& code = *network.code();
    for (std::int64_t r = row; r < row + count; ++r) {
        if (code.sampled) {
            draw(network, source.key(rows[static_cast<std::size_t>(r)]), noise, r, work);
        } else {
            keep_and_measure(network, r, work);
        }
    }
    const float* const changed = code.sampled ? work.drawn : work.y[code.layer];
    if (Pair* const pairs = code.sampled ? work.drawn_pairs : work.y_pairs[code.layer]; pairs != nullptr) {
        const std::int64_t stride = activation_stride(code.width);
        network.products().round(count, code.width, changed + row * stride, stride,
                                 pairs + row * pair_stride(code.width));
    }
}

void backward_code(const Network& network, const RowSource& source, std::span<const std::int64_t> rows,
                   std::int64_t row, std::int64_t count, Workspace& work) {
    const CodeStage& code = *network.code();
    const Layer& layer = network.layers()[code.layer];
    // A penalty's share in the gradient of one unit: l1 is a mean over the code, a divergence is divided by features.
    const double parts = static_cast<double>(code.sampled ? network.n_features() : code.width);
    const float share = code.penalty ? static_cast<float>(code.penalty->weight / parts) : 0.0F;
    for (std::int64_t r = row; r < row + count; ++r) {
        const float weight = share * source.weight(rows[static_cast<std::size_t>(r)]);
        if (code.sampled) {
            draw_backward(network, weight, r, work);
        } else {
            keep_backward(network, weight, r, work);
        }
    }
    if (Pair* const pairs = work.dz_pairs[code.layer]) {
        network.products().round(count, layer.out, work.dz[code.layer] + row * layer.out_stride, layer.out_stride,
                                 pairs + row * pair_stride(layer.out));
    }
}

void change_code(const Network& network, float* y, std::int64_t stride, std::int64_t count, Pair* pairs, float* kept) {
    const CodeStage& code = *network.code();
    for (std::int64_t r = 0; code.keep > 0 && r < count; ++r) {
        network.isa().keep_largest({code.width, code.keep, y + r * stride, kept});
    }
    if (pairs != nullptr) network.products().round(count, code.width, y, stride, pairs);
}

}  // namespace isthmus::cpu
