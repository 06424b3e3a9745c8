// SPDX-License-Identifier: Apache-2.0
// From a configuration to the program that a device compiles, its first weights, and the names of its tensors.
#pragma once

#include <string>
#include <vector>

#include "core/configuration.hpp"
#include "device/contract.hpp"

namespace isthmus {

Program build_program(const Configuration& configuration, std::int64_t n_features);

// Glorot-uniform (He-uniform for relu, leaky_relu, elu, gelu, silu), biases zero, from Philox keyed by
// (seed, purpose, layer, index); flat, in the layout of program.parameters.
std::vector<float> initial_weights(const Program& program, std::uint64_t seed);

// One for each of program.parameters: "encoder.0.weight", "encoder.0.bias", ..., "decoder.0.weight", ...
std::vector<std::string> parameter_names(const Program& program);

}  // namespace isthmus
