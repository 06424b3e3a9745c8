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
    code_ = code_stage(program);
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        layers_before_.push_back(layers_.size());
        const auto* const dense = std::get_if<Dense>(&program.ops[i]);
        if (dense == nullptr) continue;
        const Dense& op = *dense;
        const bool last = i + 1 == program.ops.size();
        Layer layer;
        layer.in = program.width(i);
        layer.out = program.width(i + 1);
        layer.activation = op.activation;
        const bool logits = from_logits && last;
        layer.training_activation = logits ? Activation::linear : op.activation;
        math::visit(layer.training_activation, [&](auto act) { layer.needs_z = decltype(act)::needs_z; });
        layer.weight = layer.dweight = layer.shared = program.parameters[op.weight].offset;
        layer.tied = op.transposed;
        if (layer.tied) {
            layer.weight = state_size() + tied_size_;
            layer.dweight = flat_size_ + tied_size_;
            tied_size_ += (layer.out * layer.in + 15) / 16 * 16;  // as the parameters do, copies begin at 64 bytes
        }
        layer.bias = program.parameters[op.bias].offset;
        widest_stride_ = std::max({widest_stride_, layer.in_stride(), layer.out_stride()});
        // With planes there is no dz in floats, but z may stand there, and the output is no product's operand.
        floats_a_row_ += layer.out_stride() * (planes == 0 || layer.needs_z ? 2 : 1);
        floats_a_row_ += planes * plane_stride(layer.out) / 2 * (last ? 1 : 2);
        multiply_adds_ += layer.in * layer.out;
        layers_.push_back(layer);
    }
    layers_before_.push_back(layers_.size());
    if (code_) {
        floats_a_row_ += row_stride(code_->width) * (code_->keep > 0 || code_->sampled ? 2 : 1);
        if (code_->sampled) floats_a_row_ += row_stride(code_->width) + planes * plane_stride(code_->width) / 2;
    }
    const Layer& first = layers_.front();
    floats_a_row_ += planes == 0 ? first.in_stride() : planes * plane_stride(first.in) / 2;
}

}  // namespace isthmus::cuda
