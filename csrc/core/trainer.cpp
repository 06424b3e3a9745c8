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
std::int64_t count_steps(const Progress& progress, std::int64_t first_epoch, std::int64_t epochs,
                         std::int64_t steps_per_epoch) {
    std::int64_t steps = 0;
    std::int64_t last = 0;
    if (epochs > std::numeric_limits<std::uint32_t>::max() - first_epoch ||
        __builtin_mul_overflow(epochs, steps_per_epoch, &steps) ||
        __builtin_add_overflow(progress.step, steps, &last)) {
        throw Error(ErrorKind::value, "epochs is " + std::to_string(epochs) + ", which after the " +
                                          std::to_string(first_epoch) + " done is more than can be counted");
    }
    return steps;
}

// Where the fit begins and where it goes to, or, where it resumes, where it began.
void plan_fit(Progress& progress, std::int64_t epochs, std::int64_t steps_per_epoch, bool resumes) {
    if (!resumes) {
        count_steps(progress, progress.epoch, epochs, steps_per_epoch);
        // Other data, or another batch size, may have fewer steps than the interrupted epoch has done.
        progress.step_in_epoch = std::clamp<std::int64_t>(progress.step_in_epoch, 0, steps_per_epoch);
        progress.fit_first_epoch = progress.epoch;
        progress.fit_first_step = progress.step_in_epoch;
    } else {
        if (progress.fit_last_epoch == 0)
            throw Error(ErrorKind::value, "there is no fit to resume: none was interrupted");
        count_steps(progress, progress.fit_first_epoch, epochs, steps_per_epoch);
        if (progress.step_in_epoch > steps_per_epoch || progress.fit_first_step > steps_per_epoch ||
            progress.fit_first_epoch > progress.epoch || epochs < progress.epoch - progress.fit_first_epoch) {
            throw Error(ErrorKind::value, "the fit to resume has done " + std::to_string(progress.epoch) +
                                              " epochs and " + std::to_string(progress.step_in_epoch) +
                                              " steps, which is more than these rows and epochs have");
        }
    }
    progress.fit_last_epoch = progress.fit_first_epoch + epochs;
}

void leave_epoch(Progress& progress) {
    progress.step_in_epoch = 0;
    progress.loss_sum = progress.weight_sum = progress.penalty_sum = progress.seconds = 0.0;
}

void forget_fit(Progress& progress) {
    progress.fit_first_epoch = progress.fit_first_step = progress.fit_last_epoch = 0;
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
          steps_(steps) {}

    FitEnd run() {
        FitEnd end = FitEnd::stopped;
        if (!hooks_.resumes) tell(Moment::begin);
        try {
            end = run_epochs();
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::divergence) tell_end();
            throw;
        } catch (...) {
            tell_end();
            throw;
        }
        tell_end();
        return end == FitEnd::stopped && interrupt_.out_of_time() ? FitEnd::out_of_time : end;
    }

    // Whether others than the last weights are the best, and wanted.
    bool restore_best() {
        const bool is_best = state_.best_wait == 0 && state_.step_in_epoch == 0;
        if (!configuration_.patience || !configuration_.restore_best || is_best || state_.best_params.empty()) {
            return false;
        }
        model_.write_parameters(state_.best_params);
        return true;
    }

private:
    FitEnd run_epochs() {
        const std::int64_t last_epoch = state_.fit_last_epoch;
        if (hooks_.resumes && is_out_of_patience()) return FitEnd::early;  // it was interrupted at its very end
        while (state_.epoch < last_epoch) {
            Stopwatch watch;
            if (interrupt_.requested()) return FitEnd::stopped;
            const double learning_rate = train_epoch();
            state_.seconds += watch.lap();
            if (interrupt_.requested()) return FitEnd::stopped;

            EpochInfo info = trained_epoch(state_, configuration_, last_epoch, learning_rate);
            if (validation_ && !(info.val_loss = validate())) return FitEnd::stopped;
            watch_loss(info.val_loss.value_or(info.loss));
            info.seconds = state_.seconds + watch.lap();
            finish_epoch(state_, info);
            tell(Moment::epoch);
            const bool asked = hooks_.on_epoch_end && hooks_.on_epoch_end(info);
            if (is_out_of_patience()) return FitEnd::early;
            if (asked && state_.epoch < last_epoch) return FitEnd::stopped;
        }
        return FitEnd::epochs_done;
    }

    void tell(Moment moment) const {
        if (hooks_.on_moment) hooks_.on_moment(moment);
    }

    // What ends the fit is more than what it throws.
    void tell_end() const {
        try {
            tell(Moment::end);
        } catch (...) {  // NOLINT
        }
    }

    // The rest of the epoch. Returns the learning rate of its last step.
    double train_epoch() {
        const std::int64_t n_steps = steps_.steps_per_epoch();
        Status status = Status::complete;
        // When all of its steps were done before it was interrupted, what is left is its end.
        while (status == Status::complete && state_.step_in_epoch < n_steps) {
            const std::int64_t end =
                state_.step_in_epoch + std::min(steps_.steps_at_once(), n_steps - state_.step_in_epoch);
            std::vector<double> rates;
            rates.reserve(static_cast<std::size_t>(end - state_.step_in_epoch));
            for (std::int64_t i = state_.step_in_epoch; i < end; ++i) rates.push_back(rate_of(i));
            status = steps_.run(std::move(rates), interrupt_);
        }
        return rate_of(n_steps - 1);
    }

    // The learning rate of a step of the current epoch: a function of the state and the length of the fit.
    double rate_of(std::int64_t step_in_epoch) const {
        const std::int64_t per_epoch = steps_.steps_per_epoch();
        const std::int64_t epoch = state_.epoch - state_.fit_first_epoch;
        const std::int64_t n_steps =
            (state_.fit_last_epoch - state_.fit_first_epoch) * per_epoch - state_.fit_first_step;
        // An epoch that had nothing but its end left when the fit began has no step of this fit.
        const std::int64_t step = epoch * per_epoch + step_in_epoch - state_.fit_first_step;
        return scheduled_rate(
            configuration_.learning_rate_schedule, configuration_.learning_rate,
            {std::max<std::int64_t>(0, step), std::max<std::int64_t>(1, n_steps), epoch, state_.plateau_factor});
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

    bool is_out_of_patience() const { return configuration_.patience && state_.best_wait >= *configuration_.patience; }

    void watch_loss(double loss) {
        if (configuration_.patience) {
            double best = state_.best_loss;
            std::int64_t wait = state_.best_wait;
            if (watch(loss, configuration_.min_delta, best, wait) && configuration_.restore_best) {
                model_.read_parameters(state_.best_params);
            }
            state_.best_loss = best;
            state_.best_wait = wait;
        }
        if (configuration_.learning_rate_schedule == Schedule::plateau) {
            watch_plateau(loss, state_.plateau_factor, state_.plateau_best, state_.plateau_wait);
        }
    }

    Model& model_;
    TrainingState& state_;
    const Configuration& configuration_;
    RowFeed* validation_;
    const Hooks& hooks_;
    Interrupt& interrupt_;
    GuardedSteps& steps_;
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

// Calls body; what Stop threw comes before anything that body throws.
template <class Body>
void run_interrupted(const Interrupt& interrupt, Body&& body) {
    try {
        body();
    } catch (...) {
        interrupt.rethrow();
        throw;
    }
    interrupt.rethrow();
}

}  // namespace

FitEnd fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
           RowFeed* validation, const Hooks& hooks, std::span<const std::int64_t> training_rows) {
    Interrupt interrupt(hooks.stop, hooks.max_seconds.value_or(Interrupt::kNoLimit));
    const Held held_training(model, &training);
    const Held held_validation(model, validation);
    RowOrder order(training_rows, training.rows(), state.seed, configuration.shuffle && !training.is_stream());
    GuardedSteps::Job job = job_of(training, std::move(order), configuration, state, hooks.reducer);
    plan_fit(state, configuration.epochs, job.steps_per_epoch(), hooks.resumes);
    GuardedSteps steps(model, state, std::move(job));
    EpochLoop loop(model, state, configuration, validation, hooks, interrupt, steps);
    FitEnd end = FitEnd::stopped;
    if (hooks.on_begin) hooks.on_begin();
    run_interrupted(interrupt, [&] {
        end = loop.run();
        if (end == FitEnd::stopped) return;
        const bool restored = loop.restore_best();
        if (end == FitEnd::out_of_time && !restored) return;
        leave_epoch(state);
        forget_watched(state);
        forget_fit(state);
    });
    return end;
}

void partial_fit(Model& model, TrainingState& state, const Configuration& configuration, RowFeed& training,
                 const Hooks& hooks) {
    Stopwatch watch;
    Interrupt interrupt(hooks.stop);
    const Held held(model, &training);
    RowOrder order({}, training.rows(), state.seed, /*shuffled=*/false);
    GuardedSteps steps(model, state, job_of(training, std::move(order), configuration, state, hooks.reducer));
    const std::int64_t n_steps = count_steps(state, state.epoch, 1, steps.steps_per_epoch());
    if (hooks.on_begin) hooks.on_begin();
    run_interrupted(interrupt, [&] {
        leave_epoch(state);
        forget_fit(state);
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
