// SPDX-License-Identifier: Apache-2.0
// The registries and their visitors. Names, parser, devices and tests all go through these lists.
#pragma once

#include "isthmus/types.hpp"
#include "math/activations.hpp"
#include "math/losses.hpp"
#include "math/optimizers.hpp"
#include "math/type_list.hpp"

namespace isthmus::math {

static_assert(covers(Activations{}, Activation::tanh), "Activations must list every Activation in the enum's order");
static_assert(covers(Losses{}, Loss::huber), "Losses must list every Loss in the enum's order");
static_assert(covers(Optimizers{}, Optimizer::sgd), "Optimizers must list every Optimizer in the enum's order");

// f is called with one object, of the empty type that the enum stands for: visit(a, [&](auto act) { act.forward(z); }).
template <class F>
ISTHMUS_HOST auto visit(Activation id, F&& f) {
    return visit(Activations{}, id, f);
}

template <class F>
ISTHMUS_HOST auto visit(Loss id, F&& f) {
    return visit(Losses{}, id, f);
}

template <class F>
ISTHMUS_HOST auto visit(Optimizer id, F&& f) {
    return visit(Optimizers{}, id, f);
}

}  // namespace isthmus::math
