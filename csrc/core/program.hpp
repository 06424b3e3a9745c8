// SPDX-License-Identifier: Apache-2.0
// From a configuration to the program that a device compiles, and its first weights.
#pragma once

#include <optional>
#include <vector>

#include "core/configuration.hpp"
#include "device/contract.hpp"

namespace isthmus {

Program build_program(const Configuration& configuration, std::int64_t n_features);

// What is added to a row's error while training.
std::optional<Penalty> penalty_of(const Configuration& configuration);

// Glorot-uniform (He-uniform for relu, leaky_relu, elu, gelu, silu), biases zero, from Philox keyed by
// (seed, purpose, layer, index); flat, in the layout of program.parameters.
std::vector<float> initial_weights(const Program& program, std::uint64_t seed);

}  // namespace isthmus
