// SPDX-License-Identifier: Apache-2.0
// Each weight is a function of (seed, layer, its row-major index) alone.
#include <cmath>
#include <cstdint>

#include "core/program.hpp"
#include "math/philox.hpp"

namespace isthmus {
namespace {

// Half the width of the uniform distribution. Glorot keeps the variance of a signal on its way forward and back through
// units that are near linear around 0; He makes up for the half that relu and its kin cut off.
double uniform_limit(Activation activation, double in, double out) {
    switch (activation) {
        case Activation::relu:
        case Activation::leaky_relu:
        case Activation::elu:
        case Activation::gelu:
        case Activation::silu: return std::sqrt(6.0 / in);
        case Activation::linear:
        case Activation::softplus:
        case Activation::sigmoid:
        case Activation::tanh: return std::sqrt(6.0 / (in + out));
    }
    throw Error(ErrorKind::value, "activation is none that is known");
}

}  // namespace

std::vector<float> initial_weights(const Program& program, std::uint64_t seed) {
    std::vector<float> flat(static_cast<std::size_t>(program.flat_size));
    std::size_t layer = 0;
    for (const Op& op : program.ops) {
        const auto* const dense = std::get_if<Dense>(&op);
        if (dense == nullptr || dense->transposed) continue;  // a transposed one is another layer's own
        const Parameter& weight = program.parameters[dense->weight];
        const double limit =
            uniform_limit(dense->activation, static_cast<double>(weight.cols), static_cast<double>(weight.rows));
        float* const values = flat.data() + weight.offset;
        for (std::int64_t first = 0; first < weight.size(); first += 4) {
            const auto counter = math::counter(math::Purpose::weights, static_cast<std::uint64_t>(first / 4),
                                               static_cast<std::uint32_t>(layer));
            const auto u = math::uniforms<float>(math::philox(counter, seed));
            for (std::int64_t i = 0; i < 4 && first + i < weight.size(); ++i) {
                values[first + i] = static_cast<float>((2.0 * u.value[i] - 1.0) * limit);
            }
        }
        ++layer;
    }
    return flat;
}

}  // namespace isthmus
