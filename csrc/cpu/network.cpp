// SPDX-License-Identifier: Apache-2.0
#include "cpu/network.hpp"

#include <algorithm>

#include "cpu/packing.hpp"
#include "cpu/team.hpp"
#include "math/activations.hpp"
#include "math/losses.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu {

namespace {

// In floats: the transposed weight; or both operands of both products with it, rounded, which are half as large.
std::int64_t size_of_copies(const Layer& layer, bool rounded) {
    if (!rounded) return layer.input_gradient ? layer.backward.size() : 0;
    return PairPanels{layer.in, layer.out}.size() + (layer.input_gradient ? PairPanels{layer.out, layer.in}.size() : 0);
}

}  // namespace

Network::Network(const Program& program, const InstructionSet& isa, const Products& products)
    : isa_(&isa),
      products_(&products),
      loss_(program.loss),
      loss_from_logits_(false),
      contract_size_(program.flat_size) {
    math::visit(loss_, [&](auto loss) { loss_from_logits_ = decltype(loss)::from_logits; });
    code_ = code_stage(program);
    std::vector<ParamId> weights;
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        layers_before_.push_back(layers_.size());
        const auto* const dense = std::get_if<Dense>(&program.ops[i]);
        if (dense == nullptr) continue;
        const Dense& op = *dense;
        Layer layer;
        layer.weight_parameter = program.parameters[op.weight];
        layer.bias_parameter = program.parameters[op.bias];
        layer.in = program.width(i);
        layer.out = program.width(i + 1);
        layer.activation = op.activation;
        math::visit(op.activation, [&](auto act) { layer.needs_z = decltype(act)::needs_z; });
        layer.input_gradient = !layers_.empty();
        layer.tied = op.transposed;
        tied_ |= op.transposed;
        weights.push_back(op.weight);
        layer.owner = static_cast<std::size_t>(std::ranges::find(weights, op.weight) - weights.begin());
        layer.forward = {layer.in + 1, layer.out, isa.lanes, isa.panel};
        layer.backward = {layer.out, layer.in, isa.lanes, isa.panel};
        layer.weight = flat_size_;
        flat_size_ += round_up(layer.forward.size(), 16);
        layer.copies = copies_size_;
        copies_size_ += round_up(size_of_copies(layer, products.rounds), 16);
        layer.in_stride = activation_stride(layer.in);
        layer.out_stride = activation_stride(layer.out);
        widest_stride_ = std::max({widest_stride_, layer.in_stride, layer.out_stride});
        multiply_adds_ += layer.in * layer.out;
        for (std::int64_t group = 0; group < layer.in; group += kWeightGroupRows) {
            const std::int64_t group_end = std::min(group + kWeightGroupRows, layer.in);
            for (std::int64_t p = 0; p < layer.forward.count(); ++p) {
                const std::int64_t width = layer.forward.panel_width(p);
                for (std::int64_t begin = group; begin < group_end; begin += kWeightTileRows) {
                    const std::int64_t end = std::min(begin + kWeightTileRows, layer.in);
                    const bool bias = end == layer.in;
                    weight_tiles_.push_back({layers_.size(), p, begin, end, bias,
                                             layer.weight + layer.forward.panel_offset(p) + begin * width,
                                             (end - begin + (bias ? 1 : 0)) * width});
                }
            }
        }
        layers_.push_back(layer);
    }
    layers_before_.push_back(layers_.size());
}

Activation Network::training_activation(std::size_t layer) const {
    return loss_from_logits_ && layer + 1 == layers_.size() ? Activation::linear : layers_[layer].activation;
}

void Network::pack(std::span<const float> from, Buffer& to, int threads) const {
    if (to.size() != flat_size_) to = Buffer(flat_size_);
    if (from.empty()) {
        std::fill_n(to.data(), to.size(), 0.0F);
        return;
    }
    run_team(threads, [&](const Member& me) {
        for (const Layer& layer : layers_) {
            const float* const weight = from.data() + layer.weight_parameter.offset;
            const float* const bias = from.data() + layer.bias_parameter.offset;
            const std::int64_t panels = layer.forward.count();
            for (std::int64_t p = me.begin(panels); p < me.end(panels); ++p) {
                if (layer.tied) {
                    pack_transposed_weight_panel(layer.forward, p, {weight, layer.in, layer.out, layer.out}, bias,
                                                 to.data() + layer.weight);
                } else {
                    pack_weight_panel(*isa_, layer.forward, p, {weight, layer.out, layer.in, layer.in}, bias,
                                      to.data() + layer.weight);
                }
            }
        }
    });
}

void Network::unpack(const Buffer& from, std::span<float> to, int threads) const {
    run_team(threads, [&](const Member& me) {
        for (const Layer& layer : layers_) {
            const MutableMatrixView weight{to.data() + layer.weight_parameter.offset, layer.out, layer.in, layer.in};
            float* const bias = to.data() + layer.bias_parameter.offset;
            const std::int64_t panels = layer.forward.count();
            for (std::int64_t p = me.begin(panels); p < me.end(panels); ++p) {
                if (layer.tied) {  // the owner of the weight gives it back
                    unpack_bias_panel(layer.forward, p, from.data() + layer.weight, bias);
                } else {
                    unpack_weight_panel(*isa_, layer.forward, p, from.data() + layer.weight, weight, bias);
                }
            }
        }
    });
}

void Network::copy_weights(const Buffer& params, Buffer& copies) const {
    if (copies.size() != copies_size_) copies = Buffer(copies_size_);
    for (const WeightTile& tile : weight_tiles_) copy_weights(tile, params.data(), copies.data());
}

}  // namespace isthmus::cpu
