// SPDX-License-Identifier: Apache-2.0
// All that training needs to go on as if it had not stopped. The tensors stand apart from the rest: while training
// they live on the device, and the trainer keeps a copy of the progress beside the device's own copy of the tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "core/fingerprint.hpp"
#include "device/contract.hpp"

namespace isthmus {

// One entry an epoch; in val_loss, one for each epoch that had something to validate on.
struct History {
    std::vector<double> loss;
    std::vector<double> val_loss;
    std::vector<double> learning_rate;  // that of the epoch's last step
    std::vector<double> seconds;
    std::vector<double> penalty;  // mean of what is added to the errors, before its weight; empty where nothing is

    // Where it ended, to go back there: it only grows while training.
    struct End {
        std::size_t loss, val_loss, learning_rate, seconds, penalty;
    };
    End end() const { return {loss.size(), val_loss.size(), learning_rate.size(), seconds.size(), penalty.size()}; }
    void cut(const End& end) {
        loss.resize(end.loss);
        val_loss.resize(end.val_loss);
        learning_rate.resize(end.learning_rate);
        seconds.resize(end.seconds);
        penalty.resize(end.penalty);
    }
};

struct Counters {
    std::uint64_t seed = 0;

    std::int64_t epoch = 0;  // whole epochs done
    std::int64_t step = 0;   // optimizer steps done; the moments belong to it: where they are zeroed, so is it
    // Inside an epoch that was interrupted: its steps done and their sums. 0 between epochs.
    std::int64_t step_in_epoch = 0;
    double loss_sum = 0.0;
    double weight_sum = 0.0;
    double penalty_sum = 0.0;
    double seconds = 0.0;

    // The fit under way, which its schedule is a function of, or the one that was interrupted: where it began, and the
    // epoch it goes to; 0: none.
    std::int64_t fit_first_epoch = 0;
    std::int64_t fit_first_step = 0;  // of that epoch: an interrupted one is finished first
    std::int64_t fit_last_epoch = 0;

    // learning_rate_schedule="plateau"; back to these values when a fit has run to its end, like every schedule.
    double plateau_factor = 1.0;
    double plateau_best = std::numeric_limits<double>::infinity();
    std::int64_t plateau_wait = 0;

    // patience, restore_best; likewise.
    double best_loss = std::numeric_limits<double>::infinity();
    std::int64_t best_wait = 0;
    std::vector<float> best_params;  // empty: none yet
};

struct Progress : Counters {
    History history;
};

struct TrainingState : Progress {
    Tensors tensors;  // of a stored model; those of one that trains are on its device alone
    DataPrint data;   // of the fit that fit_last_epoch belongs to; empty: it leaves no checkpoints

    // Of the last whole epoch, or of the steps of one that was cut short; none before the first step.
    std::optional<double> loss() const {
        if (!history.loss.empty()) return history.loss.back();
        if (weight_sum > 0.0) return loss_sum / weight_sum;
        return std::nullopt;
    }
};

}  // namespace isthmus
