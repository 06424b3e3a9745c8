// SPDX-License-Identifier: Apache-2.0
// Floor 2: what a program does to the code besides the encoder's last layer, in the one form that both devices want: a
// network is its dense layers, with this between two of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "device/contract.hpp"

namespace isthmus {

struct CodeStage {
    std::size_t layer = 0;   // the encoder's last, counting dense layers
    std::size_t end_op = 0;  // ops that end before this one are without it
    std::int64_t width = 0;  // of the code
    std::int64_t keep = 0;   // units of a row that TopK keeps; 0: all
    bool sampled = false;    // the layer gives twice as much: see GaussianSample
    std::optional<Penalty> penalty;

    // Does it change the code? Else it only measures it.
    bool changes() const { return keep > 0 || sampled; }
    // Of dense layer `layer` in a run of ops up to last_op.
    bool follows(std::size_t which, std::size_t last_op) const { return which == layer && last_op >= end_op; }
};

// Dense ops among the first `op`.
inline std::size_t layers_before(const Program& program, std::size_t op) {
    std::size_t layers = 0;
    for (std::size_t i = 0; i < op; ++i) layers += std::holds_alternative<Dense>(program.ops[i]) ? 1 : 0;
    return layers;
}

// nullopt where the code is what the layer gives, and nothing is added for it.
inline std::optional<CodeStage> code_stage(const Program& program) {
    CodeStage stage;
    stage.layer = layers_before(program, program.code_op + 1) - 1;
    stage.end_op = program.code_op + 1;
    stage.width = program.width(stage.end_op);
    stage.penalty = program.penalty;
    for (const Op& op : program.ops) {
        if (const auto* const top = std::get_if<TopK>(&op)) stage.keep = top->k;
        stage.sampled |= std::holds_alternative<GaussianSample>(op);
    }
    return stage.changes() || stage.penalty ? std::optional(stage) : std::nullopt;
}

}  // namespace isthmus
