// SPDX-License-Identifier: Apache-2.0
// Tied weights on the CPU: a layer whose weight is another's transposed has panels of its own, like any other layer, so
// that no product knows of it. Weight, moments and, once they are summed, gradient stand in both places. An update is
// the same few operations wherever an element stands, so both stay equal to the bit.
#pragma once

#include <cstdint>

#include "cpu/network.hpp"
#include "cpu/team.hpp"

namespace isthmus::cpu {

// A weight's gradient is that of its owner plus that of the layer that uses it transposed; the sum takes the place of
// both in a flat buffer of the device's layout. Called by every member; a barrier stands before and behind.
void add_tied_gradients(const Network& network, float* gradient, const Member& me);

// How many floats at the tile's beginning are the gradient of a weight whose owner has it, too: all but the biases.
inline std::int64_t repeated_gradient(const Network& network, const WeightTile& tile) {
    const Layer& layer = network.layers()[tile.layer];
    return layer.tied ? (tile.end - tile.begin) * layer.forward.panel_width(tile.panel) : 0;
}

}  // namespace isthmus::cpu
