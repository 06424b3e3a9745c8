// SPDX-License-Identifier: Apache-2.0
// What must be as it was for a fit to be resumed.
#pragma once

#include "core/passage.hpp"
#include "core/training_state.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// Throws Error(value) when no fit was interrupted in `state`, and else one that lists everything in which it would go
// on otherwise than it was begun: parameters, but for those that change no bit and for more epochs, and the data, where
// its fingerprint is known. `stop` as in print_of.
void check_resumable(const Configuration& before, const TrainingState& state, const Configuration& now,
                     const Samples& training, const Samples* validation, Stop* stop);

}  // namespace isthmus
