// SPDX-License-Identifier: Apache-2.0
#include "cpu/tied.hpp"

#include <algorithm>

namespace isthmus::cpu {

namespace {

// Outputs of panel p of the owner, by inputs of panel q of the other: element (o, i) of the weight (out, in) stands in
// row i of the one and in row o of the other.
void add_block(const Layer& owner, const Layer& other, std::int64_t p, std::int64_t q, float* gradient) {
    const std::int64_t first_o = p * owner.forward.panel;
    const std::int64_t last_o = std::min(first_o + owner.forward.panel, owner.out);
    const std::int64_t first_i = q * other.forward.panel;
    const std::int64_t last_i = std::min(first_i + other.forward.panel, owner.in);
    const std::int64_t p_width = owner.forward.panel_width(p);
    const std::int64_t q_width = other.forward.panel_width(q);
    float* const own = gradient + owner.weight + owner.forward.panel_offset(p) - first_o;
    float* const transposed = gradient + other.weight + other.forward.panel_offset(q) - first_i;
    for (std::int64_t o = first_o; o < last_o; ++o) {
        for (std::int64_t i = first_i; i < last_i; ++i) {
            float& a = own[i * p_width + o];
            float& b = transposed[o * q_width + i];
            a = b = a + b;
        }
    }
}

}  // namespace

void add_tied_gradients(const Network& network, float* gradient, const Member& me) {
    for (const Layer& other : network.layers()) {
        if (!other.tied) continue;
        const Layer& owner = network.layers()[other.owner];
        const std::int64_t panels = owner.forward.count();
        for (std::int64_t p = me.begin(panels); p < me.end(panels); ++p) {
            for (std::int64_t q = 0; q < other.forward.count(); ++q) add_block(owner, other, p, q, gradient);
        }
    }
}

}  // namespace isthmus::cpu
