// SPDX-License-Identifier: Apache-2.0
#include "core/program.hpp"

#include <utility>

#include "core/parameters.hpp"

namespace isthmus {

std::optional<Penalty> penalty_of(const Configuration& configuration) {
    if (configuration.kind == ModelKind::variational_autoencoder) {
        return Penalty{PenaltyKind::kl, configuration.kl_weight};
    }
    if (configuration.code_l1 > 0.0) return Penalty{PenaltyKind::code_l1, configuration.code_l1};
    return std::nullopt;
}

Program build_program(const Configuration& configuration, std::int64_t n_features) {
    const Widths widths = resolve_widths(configuration, n_features);
    ParameterLayout layout = parameter_layout(widths);
    const std::size_t n_layers = widths.layers.size() - 1;

    Program program;
    program.n_features = n_features;
    program.parameters = std::move(layout.parameters);
    program.flat_size = layout.flat_size;
    program.loss = configuration.loss;
    program.penalty = penalty_of(configuration);
    for (std::size_t layer = 0; layer < n_layers; ++layer) {
        Activation activation = configuration.activation;
        const bool code = layer + 1 == widths.code;
        if (code) activation = configuration.code_activation;
        if (layer + 1 == n_layers) activation = resolve_output_activation(configuration);
        const LayerParameters& from = layout.layers[layer];
        program.ops.push_back(Dense{from.weight, from.bias, from.transposed, activation});
        if (code && configuration.code_topk) program.ops.push_back(TopK{*configuration.code_topk});
        if (code && configuration.kind == ModelKind::variational_autoencoder) program.ops.push_back(GaussianSample{});
        if (code) program.code_op = program.ops.size() - 1;
    }
    return program;
}

}  // namespace isthmus
