// SPDX-License-Identifier: Apache-2.0
#include "cuda/network.hpp"

#include <algorithm>

#include "math/registry.hpp"

namespace isthmus::cuda {

Network::Network(const Program& program, Arithmetic arithmetic)
    : loss_(program.loss), arithmetic_(arithmetic), flat_size_(program.flat_size) {
    const int planes = plane_count(arithmetic);
    bool from_logits = false;
    math::visit(loss_, [&](auto loss) { from_logits = decltype(loss)::from_logits; });
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const Dense& op = std::get<Dense>(program.ops[i]);
        if (op.transposed) throw Error(ErrorKind::runtime, "tied weights do not run on CUDA devices");
        const bool last = i + 1 == program.ops.size();
        Layer layer;
        layer.in = program.width(i);
        layer.out = program.width(i + 1);
        layer.activation = op.activation;
        const bool logits = from_logits && last;
        layer.training_activation = logits ? Activation::linear : op.activation;
        math::visit(layer.training_activation, [&](auto act) { layer.needs_z = decltype(act)::needs_z; });
        layer.weight = program.parameters[op.weight].offset;
        layer.bias = program.parameters[op.bias].offset;
        widest_stride_ = std::max({widest_stride_, layer.in_stride(), layer.out_stride()});
        // With planes there is no dz in floats, but z may stand there, and the output is no product's operand.
        floats_a_row_ += layer.out_stride() * (planes == 0 || layer.needs_z ? 2 : 1);
        floats_a_row_ += planes * plane_stride(layer.out) / 2 * (last ? 1 : 2);
        multiply_adds_ += layer.in * layer.out;
        layers_.push_back(layer);
    }
    const Layer& first = layers_.front();
    floats_a_row_ += planes == 0 ? first.in_stride() : planes * plane_stride(first.in) / 2;
}

}  // namespace isthmus::cuda
