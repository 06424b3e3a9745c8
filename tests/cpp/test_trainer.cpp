// SPDX-License-Identifier: Apache-2.0
// The training loop on every device: epochs, schedules, early stopping, interruption, warm start, weights.
#include "core/trainer.hpp"

#include <numbers>

#include "check.hpp"
#include "core/schedule.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

// The loss of these grows while the network learns to give back X: the target is its opposite, ten times as large.
struct Opposite {
    Rows targets;
    RowSource source;

    explicit Opposite(const Rows& rows) : targets(rows), source{rows.view(), {}, nullptr} {
        for (float& value : targets.values) value *= -10.0F;
        source.targets = targets.view();
    }
    Opposite(const Opposite&) = delete;
};

Configuration watching(std::int64_t epochs) {
    Configuration configuration = small_configuration();
    configuration.activation = Activation::linear;
    configuration.epochs = epochs;
    configuration.patience = 3;
    return configuration;
}

}  // namespace

TEST(schedules_give_their_formulas) {
    const auto rate = [](Schedule schedule, SchedulePoint point) { return scheduled_rate(schedule, 0.5, point); };
    for (const auto& name : math::names<Schedule>()) CHECK(!name.empty());
    for (std::size_t i = 0; i < math::names<Schedule>().size(); ++i) {
        const auto schedule = static_cast<Schedule>(i);
        CHECK(rate(schedule, {0, 10, 0, 1.0}) == 0.5);  // every schedule begins at learning_rate
        const double later = rate(schedule, {5, 10, 3, 0.25});
        switch (schedule) {
            case Schedule::constant: CHECK(later == 0.5); break;
            case Schedule::cosine: CHECK(std::abs(later - 0.25) < 1e-16); break;
            case Schedule::linear: CHECK(later == 0.25); break;
            case Schedule::exponential: CHECK(std::abs(later - 0.5 * 0.95 * 0.95 * 0.95) < 1e-16); break;
            case Schedule::plateau: CHECK(later == 0.125); break;
        }
    }
    // To 0 over all steps: 0 is what the step after the last would get.
    CHECK(rate(Schedule::cosine, {10, 10, 0, 1.0}) == 0.0);
    CHECK(rate(Schedule::linear, {10, 10, 0, 1.0}) == 0.0);
    CHECK(std::abs(rate(Schedule::cosine, {1, 4, 0, 1.0}) - 0.25 * (1.0 + std::numbers::sqrt2 / 2.0)) < 1e-16);
}

TEST(fit_counts_and_reports) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Trained trained(*device, small_configuration(), 5);
        std::vector<EpochInfo> seen;
        Hooks hooks;
        hooks.on_epoch_end = [&](const EpochInfo& info) {
            seen.push_back(info);
            return false;
        };
        const RowSource source = rows.source();
        RowFeed feed(source);
        CHECK(trained.fit(source, &source, hooks) == FitEnd::epochs_done);
        CHECK(trained.state.epoch == 3 && trained.state.step == 9 && trained.state.step_in_epoch == 0);
        CHECK(seen.size() == 3 && trained.state.history.loss.size() == 3);
        for (std::size_t i = 0; i < seen.size(); ++i) {
            CHECK(seen[i].epoch == static_cast<std::int64_t>(i) + 1 && seen[i].n_epochs == 3);
            CHECK(seen[i].loss == trained.state.history.loss[i]);
            CHECK(seen[i].val_loss == trained.state.history.val_loss[i]);
            CHECK(seen[i].learning_rate == 0.01 && seen[i].seconds >= 0.0);
        }
        CHECK(trained.state.history.loss[2] < trained.state.history.loss[0]);
        CHECK(trained.state.history.val_loss[2] == evaluate(*trained.model, feed));
    }
}

TEST(every_schedule_reaches_the_device) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        for (std::size_t i = 0; i < math::names<Schedule>().size(); ++i) {
            Configuration configuration = small_configuration();
            configuration.learning_rate_schedule = static_cast<Schedule>(i);
            configuration.optimizer = Optimizer::sgd;
            Trained trained(*device, configuration, 5);
            // A fit of one step after the other at the rates of the formula gives the same bits.
            Trained by_hand(*device, configuration, 5);
            by_hand.configuration.learning_rate_schedule = Schedule::constant;
            by_hand.configuration.shuffle = trained.configuration.shuffle = false;
            trained.fit(rows.source());
            for (std::int64_t step = 0; step < 9; ++step) {
                const SchedulePoint point{step, 9, step / 3, 1.0};
                by_hand.configuration.learning_rate = scheduled_rate(static_cast<Schedule>(i), 0.01, point);
                const std::int64_t first = step % 3 * 8;
                by_hand.partial_fit(
                    {{rows.view().row(first), std::min<std::int64_t>(8, 20 - first), 5, 5}, {}, nullptr});
            }
            CHECK(same_tensors(trained.state.tensors, by_hand.state.tensors));
            CHECK(trained.state.history.learning_rate[2] == by_hand.state.history.learning_rate[8]);
        }
    }
}

TEST(plateau_halves_after_five_epochs_without_gain) {
    const Rows rows = make_rows(16, 5);
    const Opposite validation(rows);
    for (const Device* device : devices()) {
        Configuration configuration = watching(13);
        configuration.patience.reset();
        configuration.learning_rate_schedule = Schedule::plateau;
        Trained trained(*device, configuration, 5);
        trained.fit(rows.source(), &validation.source);
        // The first epoch is a gain on infinity; five without make six.
        for (std::size_t i = 0; i < 13; ++i) {
            CHECK(trained.state.history.learning_rate[i] == (i < 6 ? 0.01 : i < 11 ? 0.005 : 0.0025));
        }
        trained.fit_epochs(1, rows.source(), &validation.source);
        CHECK(trained.state.history.learning_rate.back() == 0.01);  // a schedule counts from the fit's beginning
        // On the training loss, which falls, nothing happens.
        Trained falling(*device, configuration, 5);
        falling.fit(rows.source());
        CHECK(falling.state.history.learning_rate.back() == 0.01);
    }
}

TEST(early_stopping_watches_the_validation_loss) {
    const Rows rows = make_rows(16, 5);
    const Opposite validation(rows);
    for (const Device* device : devices()) {
        Trained trained(*device, watching(50), 5);
        CHECK(trained.fit(rows.source(), &validation.source) == FitEnd::early);
        CHECK(trained.state.epoch == 4);  // the first is a gain, then three without
        // Best weights, latest moments.
        Trained one(*device, watching(1), 5);
        one.fit(rows.source());
        Trained four(*device, watching(4), 5);
        four.configuration.restore_best = false;
        four.fit(rows.source());
        CHECK(same_bits(trained.state.tensors.params, one.state.tensors.params));
        CHECK(same_bits(trained.state.tensors.m, four.state.tensors.m));
        CHECK(same_bits(trained.state.tensors.v, four.state.tensors.v));

        Trained kept(*device, watching(50), 5);
        kept.configuration.restore_best = false;
        CHECK(kept.fit(rows.source(), &validation.source) == FitEnd::early);
        CHECK(same_tensors(kept.state.tensors, four.state.tensors));

        Trained without(*device, watching(12), 5);  // the training loss falls: no early end
        CHECK(without.fit(rows.source()) == FitEnd::epochs_done);
    }
}

TEST(best_weights_come_back_when_the_epochs_run_out) {
    const Rows rows = make_rows(16, 5);
    const Opposite validation(rows);
    for (const Device* device : devices()) {
        Trained trained(*device, watching(3), 5);
        CHECK(trained.fit(rows.source(), &validation.source) == FitEnd::epochs_done);
        Trained one(*device, watching(1), 5);
        one.fit(rows.source());
        CHECK(same_bits(trained.state.tensors.params, one.state.tensors.params));
        // The next fit does not compare with this one: its first epoch is a gain again.
        CHECK(trained.state.best_params.empty() && trained.state.best_wait == 0);
    }
}

TEST(min_delta_is_what_a_gain_must_exceed) {
    const Rows rows = make_rows(16, 5);
    for (const Device* device : devices()) {
        Trained trained(*device, watching(50), 5);
        trained.configuration.min_delta = 1e6;
        CHECK(trained.fit(rows.source()) == FitEnd::early);
        CHECK(trained.state.epoch == 4);
    }
}

TEST(interrupted_anywhere_and_continued_is_uninterrupted) {
    const Rows rows = make_rows(60, 5);
    const Opposite validation(rows);
    for (const Device* device : devices()) {
        for (const bool validated : {false, true}) {
            const RowSource* const held_out = validated ? &validation.source : nullptr;
            Configuration configuration = watching(4);
            configuration.input_noise = 0.1;
            configuration.learning_rate_schedule = Schedule::plateau;
            Trained whole(*device, configuration, 5);
            const FitEnd end = whole.fit(rows.source(), held_out);
            int stops = 0;
            for (std::int64_t call = 1; stops == call - 1; ++call) {
                Trained parts(*device, configuration, 5);
                StopAtCall stop(call);
                Hooks hooks;
                hooks.stop = &stop;
                if (parts.fit(rows.source(), held_out, hooks) == FitEnd::stopped) ++stops;
                if (parts.state.epoch < 4) {
                    CHECK(parts.fit_epochs(4 - parts.state.epoch, rows.source(), held_out) == end);
                }
                CHECK(same_tensors(parts.state.tensors, whole.state.tensors));
                CHECK(same_progress(parts.state, whole.state));
            }
            CHECK(stops >= 4 * 8);  // at least between all steps
        }
    }
}

TEST(a_schedule_counts_the_steps_that_are_left) {
    const Rows rows = make_rows(20, 5);  // 3 steps an epoch
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.learning_rate_schedule = Schedule::linear;
        Trained trained(*device, configuration, 5);
        StopAtCall stop(2);
        Hooks hooks;
        hooks.stop = &stop;
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::stopped && trained.state.step == 1);
        trained.fit_epochs(2, rows.source());  // the 2 that are left of this epoch and 3 more
        const std::vector<double>& rates = trained.state.history.learning_rate;
        CHECK(rates.size() == 2 && std::abs(rates[0] - 0.008) < 1e-17 && std::abs(rates[1] - 0.002) < 1e-17);
    }
}

TEST(best_weights_of_an_interrupted_fit_stay_when_they_are_not_wanted) {
    const Rows rows = make_rows(16, 5);
    const Opposite validation(rows);
    for (const Device* device : devices()) {
        Trained trained(*device, watching(50), 5);
        Hooks hooks;
        hooks.on_epoch_end = [](const EpochInfo& info) { return info.epoch == 2; };
        CHECK(trained.fit(rows.source(), &validation.source, hooks) == FitEnd::stopped);
        CHECK(!trained.state.best_params.empty());
        trained.configuration.restore_best = false;
        CHECK(trained.fit(rows.source(), &validation.source) == FitEnd::early && trained.state.epoch == 4);
        Trained four(*device, watching(4), 5);
        four.fit(rows.source());
        CHECK(same_tensors(trained.state.tensors, four.state.tensors));
    }
}

TEST(what_stop_throws_passes_after_the_state_is_stored) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        for (std::int64_t call = 1; call < 8; ++call) {
            Trained thrown(*device, small_configuration(), 5);
            Trained returned(*device, small_configuration(), 5);
            StopAtCall throwing(call, true);
            StopAtCall returning(call);
            Hooks hooks;
            hooks.stop = &throwing;
            bool passed = false;
            try {
                thrown.fit(rows.source(), nullptr, hooks);
            } catch (const Interrupted&) {
                passed = true;
            }
            hooks.stop = &returning;
            returned.fit(rows.source(), nullptr, hooks);
            CHECK(passed && throwing.calls() == call);
            CHECK(same_tensors(thrown.state.tensors, returned.state.tensors));
            CHECK(same_progress(thrown.state, returned.state));
        }
    }
}

TEST(callbacks_may_stop_or_throw) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Trained one(*device, small_configuration(), 5);
        one.fit_epochs(1, rows.source());
        for (const bool throws : {false, true}) {
            Trained trained(*device, small_configuration(), 5);
            Hooks hooks;
            hooks.on_epoch_end = [&](const EpochInfo&) -> bool { return throws ? throw Interrupted() : true; };
            bool passed = false;
            try {
                CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::stopped);
            } catch (const Interrupted&) {
                passed = true;
            }
            CHECK(passed == throws && trained.state.epoch == 1);
            CHECK(same_tensors(trained.state.tensors, one.state.tensors));
        }
    }
}

TEST(warm_start_goes_on) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Trained ten(*device, small_configuration(), 5);
        ten.fit_epochs(10, rows.source());
        Trained five(*device, small_configuration(), 5);
        five.fit_epochs(5, rows.source());
        five.fit_epochs(5, rows.source());
        CHECK(same_tensors(five.state.tensors, ten.state.tensors) && same_progress(five.state, ten.state));
    }
}
