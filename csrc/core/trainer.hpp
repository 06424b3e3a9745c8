// SPDX-License-Identifier: Apache-2.0
// The only training loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "core/row_feed.hpp"
#include "core/training_state.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

struct EpochInfo {
    std::int64_t epoch = 0;     // number of the epoch just done, from 1, over the model's whole life
    std::int64_t n_epochs = 0;  // the number this fit goes to
    double loss = 0.0;
    std::optional<double> val_loss;
    double learning_rate = 0.0;
    double seconds = 0.0;
    std::optional<std::pair<PenaltyKind, double>> penalty;  // what was added to the errors, before its weight
};

struct Hooks {
    Stop* stop = nullptr;                                // nullptr: never
    Reducer* reducer = nullptr;                          // nullptr: one machine
    std::function<bool(const EpochInfo&)> on_epoch_end;  // returns true to stop; may throw
};

enum class FitEnd : std::uint8_t { epochs_done, early, stopped };

// Trains `model`, which holds state.tensors, for `configuration.epochs` more epochs (an epoch that was interrupted is
// finished first and counts as one). `state` is kept up to date: counters always; tensors at the end, however it ends.
//
// An epoch's loss is that of its rows as they were trained on, each before its batch's update. Early stopping and the
// plateau schedule watch the validation loss when there is one, else that loss. A fit that ends by epochs_done or early
// has its best weights restored (patience and restore_best set; the moments stay) and forgets what it watched. One that
// ends otherwise keeps it, and the next fit goes on with it. Schedules count from the beginning of a fit.
//
// Throws Error(divergence) with epoch, step and learning rate, after the model went back to its last finite weights.
// What hooks.stop or hooks.on_epoch_end throws passes through; the state is that of the last completed step.
FitEnd fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
           RowFeed* validation, const Hooks& hooks, std::span<const std::int64_t> training_rows = {});

// One pass in the order of the rows, in slices of batch_size, at a constant learning rate; one entry in the history. An
// epoch that was interrupted is given up. When this pass is, its steps stay done and it does not count as an epoch.
void partial_fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
                 const Hooks& hooks);

// sum(w_i e_i) / sum(w_i)
double evaluate(const Model& model, RowFeed& rows);

}  // namespace isthmus
