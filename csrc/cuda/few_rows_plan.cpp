// SPDX-License-Identifier: Apache-2.0
#include "cuda/few_rows_plan.hpp"

#include <algorithm>

#include "cuda/shared_places.hpp"
#include "cuda/weight_passes.hpp"

namespace isthmus::cuda {

namespace {

// Cycles of a layer by itself, on paper: a launch, and a slice of 16 of k after another, each as long as L2 takes.
constexpr double kCyclesALaunch = 4000;
constexpr double kCyclesASlice = 700;

}  // namespace

std::optional<RowBlockLayout> few_rows_layout(const Network& network, std::size_t first_op, std::size_t last_op,
                                              const Limits& limits) {
    const std::size_t first = network.layers_before(first_op);
    const std::size_t last = network.layers_before(last_op);
    const CodeStage* const code = network.code();
    if (code != nullptr && code->changes() && first <= code->layer && code->layer < last) return {};
    if (network.arithmetic() != Arithmetic::simt) return {};  // which has other bits
    if (last <= first || last - first > kMostRowBlockLayers || network.widest_stride() > kWidestRow) return {};
    RowBlockLayout to;
    Places places;
    to.rows = 1;
    to.n_layers = static_cast<int>(last - first);
    int x = to.inputs = places.take(network.layers()[first].in);
    for (int l = 0; l < to.n_layers; ++l) {
        const Layer& from = network.layers()[first + static_cast<std::size_t>(l)];
        RowBlockLayer& layer = to.layers[l];
        layer.in = static_cast<int>(from.in);
        layer.out = static_cast<int>(from.out);
        layer.flat_weight = static_cast<int>(from.weight);
        layer.flat_bias = static_cast<int>(from.bias);
        layer.activation = from.activation;
        layer.x = x;
        layer.x_stride = 4 * quads(from.in);
        x = layer.y = places.take(from.out);
    }
    if (!add_ring(to, places.floats(), limits)) return {};

    double together = 0.0;
    double apart = 0.0;
    for (int l = 0; l < to.n_layers; ++l) {
        const double bytes = 4.0 * to.layers[l].in * to.layers[l].out;
        together += std::max(add_weight_pass(to, l, true), bytes / kBytesACycle);
        apart += kCyclesALaunch + kCyclesASlice * rounded_up(to.layers[l].in, 16);
    }
    return together < apart ? std::optional(to) : std::nullopt;
}

}  // namespace isthmus::cuda
