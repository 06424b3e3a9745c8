// SPDX-License-Identifier: Apache-2.0
#include "core/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/configuration.hpp"
#include "core/evaluation.hpp"
#include "core/guarded_steps.hpp"
#include "core/interrupt.hpp"
#include "core/program.hpp"
#include "core/schedule.hpp"
#include "core/stopwatch.hpp"

namespace isthmus {
namespace {

GuardedSteps::Job job_of(RowFeed& rows, RowOrder order, const Configuration& configuration, const Progress& progress,
                         Reducer* reducer) {
    const std::int64_t batch_size = std::min(configuration.batch_size, order.size());
    const Noise noise{configuration.input_noise_kind, static_cast<float>(configuration.input_noise), progress.seed, 0};
    return {rows, std::move(order), batch_size, update_rule(configuration), noise, reducer};
}

// Steps of whole epochs; throws when they cannot be counted. Noise and permutation are keyed by a 32-bit epoch.
std::int64_t count_steps(const Progress& progress, std::int64_t epochs, std::int64_t steps_per_epoch) {
    std::int64_t steps = 0;
    std::int64_t last = 0;
    if (epochs > std::numeric_limits<std::uint32_t>::max() - progress.epoch ||
        __builtin_mul_overflow(epochs, steps_per_epoch, &steps) ||
        __builtin_add_overflow(progress.step, steps, &last)) {
        throw Error(ErrorKind::value, "epochs is " + std::to_string(epochs) + ", which after the " +
                                          std::to_string(progress.epoch) + " done is more than can be counted");
    }
    return steps;
}

void leave_epoch(Progress& progress) {
    progress.step_in_epoch = 0;
    progress.loss_sum = progress.weight_sum = progress.penalty_sum = progress.seconds = 0.0;
}

void forget_watched(Progress& progress) {
    const Progress fresh;
    progress.plateau_factor = fresh.plateau_factor;
    progress.plateau_best = fresh.plateau_best;
    progress.plateau_wait = fresh.plateau_wait;
    progress.best_loss = fresh.best_loss;
    progress.best_wait = fresh.best_wait;
    progress.best_params.clear();
}

// 0 where no row had a weight: an epoch resumed on other data may have none left.
double mean(double sum, const Progress& progress) {
    return progress.weight_sum > 0.0 ? sum / progress.weight_sum : 0.0;
}

// What an epoch came to before the validation, at the end of its last step.
EpochInfo trained_epoch(const Progress& progress, const Configuration& configuration, std::int64_t n_epochs,
                        double learning_rate) {
    EpochInfo info{progress.epoch + 1, n_epochs, mean(progress.loss_sum, progress), {}, learning_rate, 0.0, {}};
    if (const auto penalty = penalty_of(configuration)) {
        info.penalty = {penalty->kind, mean(progress.penalty_sum, progress)};
    }
    return info;
}

void make_room(std::vector<double>& values) {
    if (values.size() == values.capacity()) values.reserve(std::max<std::size_t>(16, 2 * values.size()));
}

// Appends to the history and goes to the next epoch: all of it, or, when memory runs out, nothing.
void finish_epoch(Progress& progress, const EpochInfo& info) {
    History& history = progress.history;
    make_room(history.loss);
    make_room(history.val_loss);
    make_room(history.learning_rate);
    make_room(history.seconds);
    make_room(history.penalty);
    history.loss.push_back(info.loss);
    if (info.val_loss) history.val_loss.push_back(*info.val_loss);
    history.learning_rate.push_back(info.learning_rate);
    history.seconds.push_back(info.seconds);
    if (info.penalty) history.penalty.push_back(info.penalty->second);
    ++progress.epoch;
    leave_epoch(progress);
}

class EpochLoop {
public:
    EpochLoop(Model& model, TrainingState& state, const Configuration& configuration, RowFeed* validation,
              const Hooks& hooks, Interrupt& interrupt, GuardedSteps& steps)
        : model_(model),
          state_(state),
          configuration_(configuration),
          validation_(validation),
          hooks_(hooks),
          interrupt_(interrupt),
          steps_(steps),
          last_epoch_(state.epoch + configuration.epochs) {
        n_steps_ = count_steps(state_, configuration.epochs, steps_.steps_per_epoch());
        // Other data, or another batch size, may have fewer steps than the interrupted epoch has done.
        state_.step_in_epoch = std::clamp<std::int64_t>(state_.step_in_epoch, 0, steps_.steps_per_epoch());
        n_steps_ -= state_.step_in_epoch;
    }

    FitEnd run() {
        for (std::int64_t epoch = 0; state_.epoch < last_epoch_; ++epoch) {
            Stopwatch watch;
            if (interrupt_.requested()) return FitEnd::stopped;
            const double learning_rate = train_epoch(epoch);
            state_.seconds += watch.lap();
            if (interrupt_.requested()) return FitEnd::stopped;

            EpochInfo info = trained_epoch(state_, configuration_, last_epoch_, learning_rate);
            if (validation_ && !(info.val_loss = validate())) return FitEnd::stopped;
            const bool early = watch_loss(info.val_loss.value_or(info.loss));
            info.seconds = state_.seconds + watch.lap();
            finish_epoch(state_, info);
            const bool asked = hooks_.on_epoch_end && hooks_.on_epoch_end(info);
            if (early) return FitEnd::early;
            if (asked && state_.epoch < last_epoch_) return FitEnd::stopped;
        }
        return FitEnd::epochs_done;
    }

    void restore_best() {
        if (configuration_.patience && configuration_.restore_best && state_.best_wait > 0 &&
            !state_.best_params.empty()) {
            model_.read(state_.tensors);
            state_.tensors.params = state_.best_params;
            model_.write(state_.tensors);
        }
    }

private:
    // The rest of the epoch. Returns the learning rate of its last step.
    double train_epoch(std::int64_t epoch) {
        std::vector<double> rates;
        rates.reserve(static_cast<std::size_t>(steps_.steps_per_epoch() - state_.step_in_epoch));
        for (std::int64_t i = state_.step_in_epoch; i < steps_.steps_per_epoch(); ++i) {
            rates.push_back(rate_at({steps_done_++, n_steps_, epoch, state_.plateau_factor}));
        }
        // All steps were done when the epoch was interrupted: what is left is its end.
        if (rates.empty()) return rate_at({0, 1, epoch, state_.plateau_factor});
        const double last = rates.back();
        steps_.run(std::move(rates), interrupt_);
        return last;
    }

    double rate_at(const SchedulePoint& point) const {
        return scheduled_rate(configuration_.learning_rate_schedule, configuration_.learning_rate, point);
    }

    std::optional<double> validate() {
        const auto loss = evaluate_until(model_, *validation_, interrupt_);
        if (loss && !std::isfinite(*loss)) {
            throw Error(ErrorKind::divergence, "the validation loss is not finite after epoch " +
                                                   std::to_string(state_.epoch + 1) +
                                                   ", although the weights are. Scale validation_data, or lower "
                                                   "learning_rate, or set clip_norm");
        }
        return loss;
    }

    // Returns whether patience is at its end.
    bool watch_loss(double loss) {
        if (configuration_.patience) {
            double best = state_.best_loss;
            std::int64_t wait = state_.best_wait;
            if (watch(loss, configuration_.min_delta, best, wait) && configuration_.restore_best) {
                model_.read(state_.tensors);
                steps_.held_anew();
                state_.best_params = state_.tensors.params;
            }
            state_.best_loss = best;
            state_.best_wait = wait;
        }
        if (configuration_.learning_rate_schedule == Schedule::plateau) {
            watch_plateau(loss, state_.plateau_factor, state_.plateau_best, state_.plateau_wait);
        }
        return configuration_.patience && state_.best_wait >= *configuration_.patience;
    }

    Model& model_;
    TrainingState& state_;
    const Configuration& configuration_;
    RowFeed* validation_;
    const Hooks& hooks_;
    Interrupt& interrupt_;
    GuardedSteps& steps_;
    std::int64_t last_epoch_;
    std::int64_t n_steps_ = 0;
    std::int64_t steps_done_ = 0;
};

// Rows held by the device for the time of one fit.
class Held {
public:
    Held(const Model& model, RowFeed* rows) : rows_(rows) {
        if (rows_) rows_->hold(model);
    }
    ~Held() {
        if (rows_) rows_->release();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

private:
    RowFeed* rows_;
};

// Calls body and has the state stored however it ends; what Stop threw comes before anything else.
template <class Body>
void train_and_store(Model& model, TrainingState& state, const Interrupt& interrupt, Body&& body) {
    try {
        body();
    } catch (...) {
        model.read(state.tensors);
        interrupt.rethrow();
        throw;
    }
    model.read(state.tensors);
    interrupt.rethrow();
}

}  // namespace

FitEnd fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
           RowFeed* validation, const Hooks& hooks, std::span<const std::int64_t> training_rows) {
    Interrupt interrupt(hooks.stop);
    const Held held_training(model, &training);
    const Held held_validation(model, validation);
    RowOrder order(training_rows, training.rows(), state.seed, configuration.shuffle);
    GuardedSteps steps(model, state, state.tensors,
                       job_of(training, std::move(order), configuration, state, hooks.reducer));
    EpochLoop loop(model, state, configuration, validation, hooks, interrupt, steps);
    FitEnd end = FitEnd::stopped;
    train_and_store(model, state, interrupt, [&] {
        end = loop.run();
        if (end == FitEnd::stopped) return;
        loop.restore_best();
        forget_watched(state);
    });
    return end;
}

void partial_fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
                 const Hooks& hooks) {
    Stopwatch watch;
    Interrupt interrupt(hooks.stop);
    const Held held(model, &training);
    RowOrder order({}, training.rows(), state.seed, /*shuffled=*/false);
    GuardedSteps steps(model, state, state.tensors,
                       job_of(training, std::move(order), configuration, state, hooks.reducer));
    const std::int64_t n_steps = count_steps(state, 1, steps.steps_per_epoch());
    train_and_store(model, state, interrupt, [&] {
        leave_epoch(state);
        std::vector<double> rates(static_cast<std::size_t>(n_steps), configuration.learning_rate);
        Status status = Status::stopped;
        try {
            if (!interrupt.requested()) status = steps.run(std::move(rates), interrupt);
        } catch (...) {
            leave_epoch(state);
            throw;
        }
        if (status == Status::stopped) return leave_epoch(state);
        EpochInfo info = trained_epoch(state, configuration, state.epoch + 1, configuration.learning_rate);
        info.seconds = watch.lap();
        finish_epoch(state, info);
        if (hooks.on_epoch_end) hooks.on_epoch_end(info);
    });
}

double evaluate(const Model& model, RowFeed& rows) {
    Interrupt never(nullptr);
    return *evaluate_until(model, rows, never);
}

}  // namespace isthmus
