// SPDX-License-Identifier: Apache-2.0
#include "core/guarded_steps.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "core/json.hpp"
#include "core/permutation.hpp"

namespace isthmus {

RowOrder::RowOrder(std::span<const std::int64_t> rows, std::int64_t n_rows, std::uint64_t seed, bool shuffled)
    : size_(rows.empty() ? n_rows : static_cast<std::int64_t>(rows.size())),
      seed_(seed),
      shuffled_(shuffled),
      rows_(rows.begin(), rows.end()) {
    if (!rows_.empty() || !shuffled) return;
    rows_.resize(static_cast<std::size_t>(n_rows));
    std::iota(rows_.begin(), rows_.end(), std::int64_t{0});
}

std::span<const std::int64_t> RowOrder::of_epoch(std::int64_t epoch, std::int64_t begin, std::int64_t end) {
    if (rows_.empty()) {  // of a stream there may be more rows than numbers have room
        order_.resize(static_cast<std::size_t>(end - begin));
        std::iota(order_.begin(), order_.end(), begin);
        return order_;
    }
    if (shuffled_ && epoch != epoch_) {
        order_ = rows_;
        shuffle(order_, seed_, static_cast<std::uint32_t>(epoch));
        epoch_ = epoch;
    }
    const std::span<const std::int64_t> all = shuffled_ ? order_ : rows_;
    return all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

GuardedSteps::GuardedSteps(Model& model, Progress& progress, Job job)
    : model_(model), progress_(progress), job_(std::move(job)) {}

Status GuardedSteps::run(std::vector<double> learning_rates, Stop& stop) {
    if (!kept_ || progress_.step - kept_->step >= kKeepInterval) keep();
    Range range{progress_.epoch,      progress_.step_in_epoch, progress_.step,           progress_.loss_sum,
                progress_.weight_sum, progress_.penalty_sum,   std::move(learning_rates)};
    Totals totals;
    try {
        totals = train(range, stop);
    } catch (...) {
        go_back();
        throw;
    }
    if (totals.status == Status::diverged) {
        const auto failed = static_cast<std::size_t>(totals.steps_done);
        const std::string where = "epoch " + std::to_string(range.epoch + 1) + ", step " +
                                  std::to_string(range.first_in_epoch + totals.steps_done + 1) + " of " +
                                  std::to_string(steps_per_epoch()) + ", learning rate " +
                                  Json(range.learning_rates.at(failed)).dump();
        recover(range, totals.steps_done, stop);
        throw Error(ErrorKind::divergence, "training diverged (" + where +
                                               "): the loss or a weight is no longer finite. The model keeps " +
                                               "its weights after " + std::to_string(progress_.step) +
                                               " steps. Lower learning_rate, or set clip_norm, or scale X");
    }
    count(totals);
    range.learning_rates.resize(static_cast<std::size_t>(totals.steps_done));
    since_kept_.push_back(std::move(range));
    job_.rows.rethrow_failure();
    return totals.status;
}

Totals GuardedSteps::train(const Range& range, Stop& stop) {
    const std::int64_t n_rows = job_.order.size();
    const std::int64_t begin = std::min(n_rows, range.first_in_epoch * job_.batch_size);
    const auto n_steps = static_cast<std::int64_t>(range.learning_rates.size());
    const std::int64_t end = std::min(n_rows, begin + n_steps * job_.batch_size);

    StepRange steps;
    steps.first_step = range.first_step;
    steps.batch_size = job_.batch_size;
    steps.rows = job_.order.of_epoch(range.epoch, begin, end);
    steps.learning_rates = range.learning_rates;
    steps.noise = job_.noise;
    steps.noise.epoch = static_cast<std::uint32_t>(range.epoch);
    steps.loss_sum = range.loss_sum;
    steps.weight_sum = range.weight_sum;
    steps.penalty_sum = range.penalty_sum;
    return job_.rows.train(model_, steps, job_.rule, job_.reducer, stop);
}

void GuardedSteps::count(const Totals& totals) {
    progress_.step += totals.steps_done;
    progress_.step_in_epoch += totals.steps_done;
    progress_.loss_sum = totals.loss_sum;
    progress_.weight_sum = totals.weight_sum;
    progress_.penalty_sum = totals.penalty_sum;
}

void GuardedSteps::keep() {
    model_.keep();
    kept_ = progress_;
    kept_history_ = progress_.history.end();
    since_kept_.clear();
}

void GuardedSteps::go_back() {
    model_.rollback();
    static_cast<Counters&>(progress_) = *kept_;
    progress_.history.cut(kept_history_);
    since_kept_.clear();
}

void GuardedSteps::recover(Range& diverged, std::int64_t finite_steps, Stop& stop) {
    model_.rollback();
    diverged.learning_rates.resize(static_cast<std::size_t>(finite_steps));
    since_kept_.push_back(diverged);
    Totals totals;
    for (const Range& range : since_kept_) {
        if (range.learning_rates.empty()) continue;
        try {
            totals = train(range, stop);
        } catch (...) {
            go_back();
            throw;
        }
        if (totals.status != Status::complete) return go_back();
    }
    if (finite_steps > 0) count(totals);
}

}  // namespace isthmus
