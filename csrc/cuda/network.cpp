// SPDX-License-Identifier: Apache-2.0
#include "cuda/network.hpp"

#include <algorithm>

#include "math/registry.hpp"

namespace isthmus::cuda {

Network::Network(const Program& program) : loss_(program.loss), flat_size_(program.flat_size) {
    bool from_logits = false;
    math::visit(loss_, [&](auto loss) { from_logits = decltype(loss)::from_logits; });
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const Dense& op = std::get<Dense>(program.ops[i]);
        if (op.transposed) throw Error(ErrorKind::runtime, "tied weights do not run on CUDA devices");
        Layer layer;
        layer.in = program.width(i);
        layer.out = program.width(i + 1);
        layer.activation = op.activation;
        const bool logits = from_logits && i + 1 == program.ops.size();
        layer.training_activation = logits ? Activation::linear : op.activation;
        math::visit(layer.training_activation, [&](auto act) { layer.needs_z = decltype(act)::needs_z; });
        layer.weight = program.parameters[op.weight].offset;
        layer.bias = program.parameters[op.bias].offset;
        widest_stride_ = std::max({widest_stride_, layer.in_stride(), layer.out_stride()});
        floats_a_row_ += 2 * layer.out_stride();
        multiply_adds_ += layer.in * layer.out;
        layers_.push_back(layer);
    }
    floats_a_row_ += layers_.front().in_stride();
}

}  // namespace isthmus::cuda
