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

// Where a fit is when its state is one to go on from: before its first step, after an epoch, or where it is left, be it
// at its end (the best weights are not restored yet) or, but for a divergence, anywhere else.
enum class Moment : std::uint8_t { begin, epoch, end };

struct Hooks {
    Stop* stop = nullptr;                                // nullptr: never
    Reducer* reducer = nullptr;                          // nullptr: one machine
    std::function<bool(const EpochInfo&)> on_epoch_end;  // returns true to stop; may throw
    std::function<void(Moment)> on_moment;               // may throw, but for Moment::end what it throws is lost
    std::function<void()> on_begin;  // all that is refused for its arguments was: what follows changes the state
    std::optional<double> max_seconds;
    bool resumes = false;  // goes on with the fit that the state was interrupted in, to that fit's own end
};

enum class FitEnd : std::uint8_t { epochs_done, early, stopped, out_of_time };

// Trains `model`, which holds the tensors, for `configuration.epochs` more epochs (an epoch that was interrupted is
// finished first and counts as one); where hooks.resumes, for as many as are left of the fit that was interrupted, with
// the bits that it would have had. `state` is kept up to date, but for its tensors.
//
// An epoch's loss is that of its rows as they were trained on, each before its batch's update. Early stopping and the
// plateau schedule watch the validation loss when there is one, else that loss. A fit that ends by epochs_done or early
// has its best weights restored (patience and restore_best set; the moments stay) and forgets what it watched. One that
// ends otherwise keeps it, and the next fit goes on with it; but one that is out of time has its best weights restored,
// and if others than its last ones are the best, it has ended. Schedules count from the beginning of a fit.
//
// Throws Error(divergence) with epoch, step and learning rate, after the model went back to its last finite weights.
// What hooks.stop, hooks.on_epoch_end or a stream of rows throws passes through; the state is that of the last
// completed step.
FitEnd fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
           RowFeed* validation, const Hooks& hooks, std::span<const std::int64_t> training_rows = {});

// One pass in the order of the rows, in slices of batch_size, at a constant learning rate; one entry in the history. An
// epoch that was interrupted is given up, and so is its fit. When this pass is, its steps stay done and it does not
// count as an epoch.
void partial_fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
                 const Hooks& hooks);

// sum(w_i e_i) / sum(w_i)
double evaluate(const Model& model, RowFeed& rows);

}  // namespace isthmus
