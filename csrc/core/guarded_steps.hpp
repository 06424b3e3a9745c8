// SPDX-License-Identifier: Apache-2.0
// Runs ranges of steps such that the model can always go back to whole, finite ones.
//
// A device checks for divergence only after an update has overwritten the state. Keeping a copy at every step would
// cost more than the step, so one is kept every kKeepInterval steps at most, and what ran since is written down: order,
// noise and learning rates are pure functions, so running it again gives the same bits.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/row_feed.hpp"
#include "core/training_state.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

inline constexpr std::int64_t kKeepInterval = 256;

// Which rows an epoch trains on, in which order.
class RowOrder {
public:
    // rows: the row numbers to train on; empty: 0 to n_rows - 1.
    RowOrder(std::span<const std::int64_t> rows, std::int64_t n_rows, std::uint64_t seed, bool shuffled);

    std::int64_t size() const { return size_; }
    // Those at [begin, end) of an epoch. Valid until the next call. The order of the epoch asked for last is at hand.
    std::span<const std::int64_t> of_epoch(std::int64_t epoch, std::int64_t begin, std::int64_t end);

private:
    std::int64_t size_;
    std::uint64_t seed_;
    bool shuffled_;
    std::vector<std::int64_t> rows_;   // empty where they are 0 to size_ - 1 in this order
    std::vector<std::int64_t> order_;  // of epoch_; without rows_, what was asked for last
    std::int64_t epoch_ = -1;
};

class GuardedSteps {
public:
    struct Job {
        RowFeed& rows;
        RowOrder order;
        std::int64_t batch_size;  // at most order.size()
        UpdateRule rule;
        Noise noise;  // but for the epoch
        Reducer* reducer;

        std::int64_t steps_per_epoch() const { return (order.size() + batch_size - 1) / batch_size; }
    };

    // All must outlive it; progress is that of the model's tensors and counts what is run.
    GuardedSteps(Model& model, Progress& progress, Job job);

    std::int64_t steps_per_epoch() const { return job_.steps_per_epoch(); }
    // The most steps that `run` had better be asked for.
    std::int64_t steps_at_once() const { return job_.rows.steps_at_once(job_.batch_size); }

    // Steps progress.step_in_epoch and on of epoch progress.epoch, one for each learning rate. Returns complete or
    // stopped. On divergence the model and progress are those of the last step that was finite and Error(divergence)
    // is thrown. If a device or reducer throws, or a stop is asked for while steps are repeated, they are those of
    // what was kept last. What a stream of rows throws comes out when they are those of the last completed step.
    Status run(std::vector<double> learning_rates, Stop& stop);

private:
    // What is needed to run a range once more.
    struct Range {
        std::int64_t epoch = 0;
        std::int64_t first_in_epoch = 0;
        std::int64_t first_step = 0;
        double loss_sum = 0.0;
        double weight_sum = 0.0;
        double penalty_sum = 0.0;
        std::vector<double> learning_rates;
    };

    Totals train(const Range& range, Stop& stop);
    void count(const Totals& totals);
    void keep();
    void go_back();
    // Back to the state after the finite steps of the range that diverged.
    void recover(Range& diverged, std::int64_t finite_steps, Stop& stop);

    Model& model_;
    Progress& progress_;
    Job job_;
    std::optional<Counters> kept_;  // of what the model keeps
    History::End kept_history_;
    std::vector<Range> since_kept_;
};

}  // namespace isthmus
