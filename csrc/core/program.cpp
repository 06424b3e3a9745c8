// SPDX-License-Identifier: Apache-2.0
#include "core/program.hpp"

#include <utility>

#include "core/parameters.hpp"

namespace isthmus {

Program build_program(const Configuration& configuration, std::int64_t n_features) {
    const Widths widths = resolve_widths(configuration, n_features);
    ParameterLayout layout = parameter_layout(widths);
    const std::size_t n_layers = widths.layers.size() - 1;

    Program program;
    program.n_features = n_features;
    program.parameters = std::move(layout.parameters);
    program.flat_size = layout.flat_size;
    program.code_op = widths.code - 1;
    program.loss = configuration.loss;
    for (std::size_t layer = 0; layer < n_layers; ++layer) {
        Activation activation = configuration.activation;
        if (layer == program.code_op) activation = configuration.code_activation;
        if (layer + 1 == n_layers) activation = resolve_output_activation(configuration);
        program.ops.push_back(Dense{2 * layer, 2 * layer + 1, false, activation});
    }
    return program;
}

std::vector<std::string> parameter_names(const Program& program) {
    std::vector<std::string> names(program.parameters.size());
    for (std::size_t layer = 0; layer < program.ops.size(); ++layer) {
        const Dense& dense = std::get<Dense>(program.ops[layer]);
        if (!dense.transposed) names[dense.weight] = parameter_name(layer, program.code_op + 1, false);
        names[dense.bias] = parameter_name(layer, program.code_op + 1, true);
    }
    return names;
}

}  // namespace isthmus
