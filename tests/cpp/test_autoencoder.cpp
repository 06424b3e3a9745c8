// SPDX-License-Identifier: Apache-2.0
// The model that the bindings hold: its parts fit together, and storing, loading and configuring lose nothing.
#include "core/autoencoder.hpp"

#include <thread>

#include "check.hpp"
#include "core/held_back.hpp"
#include "core/permutation.hpp"
#include "training_fixture.hpp"

using namespace fixture;

TEST(encode_then_decode_is_reconstruct_and_rows_do_not_meet) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        model.fit(rows.source(), nullptr, {});
        const std::vector<float> code = encoded(model, rows.view());
        std::vector<float> decoded(20 * kWidth);
        std::vector<float> direct(20 * kWidth);
        model.decode(MatrixView{code.data(), 20, 3, 3}, {decoded.data(), 20, kWidth, kWidth});
        model.reconstruct(rows.view(), {direct.data(), 20, kWidth, kWidth});
        // The reference hands the code on in double inside reconstruct; a real device hands on its floats.
        if (device->name() == "reference") {
            CHECK(relative_error(decoded, direct) < 1e-6);
        } else {
            CHECK(same_bits(decoded, direct));
        }
        std::vector<float> one_by_one;
        for (std::int64_t r = 0; r < 20; ++r) {
            const std::vector<float> row = encoded(model, {rows.view().row(r), 1, kWidth, kWidth});
            one_by_one.insert(one_by_one.end(), row.begin(), row.end());
        }
        CHECK(same_bits(one_by_one, code));

        std::vector<double> errors(20);
        std::vector<float> elements(20 * kWidth);
        model.reconstruction_error(rows.view(), errors, MutableMatrixView{elements.data(), 20, kWidth, kWidth});
        double sum = 0.0;
        for (std::size_t r = 0; r < 20; ++r) {
            double error = 0.0;
            for (std::size_t c = 0; c < 5; ++c) {
                const double difference = static_cast<double>(direct[5 * r + c]) - rows.values[5 * r + c];
                CHECK(std::abs(elements[5 * r + c] - difference * difference) < 1e-6);
                error += difference * difference / 5.0;
            }
            CHECK(std::abs(errors[r] / error - 1.0) < 1e-5);
            sum += errors[r];
        }
        CHECK(std::abs(model.evaluate(rows.source()) * 20.0 / sum - 1.0) < 1e-12);
    }
}

TEST(gradients_are_of_the_mean) {
    const Rows rows = make_rows(20, kWidth);
    const std::vector<float> weights = uniform(20, 2, 0.5, 2.0);
    for (const Device* device : devices()) {
        const Autoencoder model = make_autoencoder(*device);
        RowSource source = rows.source();
        source.weights = weights.data();
        Trained same(*device, small_configuration(), kWidth);
        std::vector<float> sums(same.state.tensors.params.size());
        const Totals totals = same.model->gradient(source, sums);
        for (float& value : sums) value = static_cast<float>(value / totals.weight_sum);
        CHECK(same_bits(model.gradients(source), sums));
    }
}

TEST(validation_fraction_holds_rows_back) {
    const Rows rows = make_rows(30, kWidth);
    const std::vector<float> weights = uniform(30, 2, 0.5, 2.0);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.validation_fraction = 0.3;
        RowSource source = rows.source();
        source.weights = weights.data();
        source.targets = rows.view();
        Autoencoder model = make_autoencoder(*device, configuration);
        model.fit(source, nullptr, {});
        CHECK(model.state().step == 9 && model.state().history.val_loss.size() == 3);  // 21 rows in batches of 8

        const HeldBack held_back(RowFeed(source), hold_back(source, 11, 0.3));
        const Split split = split_rows(11, 0.3, 30);
        CHECK(held_back.validation().rows() == 9);
        for (std::size_t i = 0; i < 9; ++i) {
            const auto row = static_cast<std::int64_t>(i);
            CHECK(held_back.validation().weights[i] == weights[static_cast<std::size_t>(split.validation[i])]);
            for (std::int64_t c = 0; c < kWidth; ++c) {
                CHECK(held_back.validation().inputs.row(row)[c] == rows.view().row(split.validation[i])[c]);
                CHECK(held_back.validation().targets->row(row)[c] == rows.view().row(split.validation[i])[c]);
            }
        }
        CHECK(model.state().history.val_loss.back() == model.evaluate(held_back.validation()));

        // A given validation source wins: all 30 rows are trained on.
        Autoencoder given = make_autoencoder(*device, configuration);
        const Samples validation = source;
        given.fit(source, &validation, {});
        CHECK(given.state().step == 12);
    }
}

TEST(a_stored_training_state_goes_on_where_it_stopped) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        for (std::int64_t call = 1; call < 12; ++call) {
            Configuration configuration = small_configuration();
            configuration.patience = 2;
            Autoencoder whole = make_autoencoder(*device, configuration);
            whole.fit(rows.source(), nullptr, {});
            Autoencoder first = make_autoencoder(*device, configuration);
            StopAtCall stop(call);
            Hooks hooks;
            hooks.stop = &stop;
            CHECK(first.fit(rows.source(), nullptr, hooks) == FitEnd::stopped);
            Autoencoder second(first.store(true), *device, {});
            configuration.epochs = 3 - second.state().epoch;
            second.configure(configuration);
            if (configuration.epochs > 0) second.fit(rows.source(), nullptr, {});
            CHECK(same_tensors(second.store(true).state.tensors, whole.store(true).state.tensors));
            CHECK(same_progress(second.state(), whole.state()));
        }
    }
}

TEST(without_training_state_the_moments_start_anew) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        model.feature_names = {"a", "b", "c", "d", "e"};
        model.fit(rows.source(), nullptr, {});
        StoredModel stored = model.store(false);
        CHECK(stored.state.tensors.m.empty() && stored.state.tensors.v.empty() && stored.state.step == 0);
        CHECK(stored.state.epoch == 3 && stored.state.seed == 11 && stored.state.history.loss.size() == 3);
        Autoencoder loaded(stored, *device, {});
        CHECK(loaded.feature_names == model.feature_names);
        CHECK(same_bits(encoded(loaded, rows.view()), encoded(model, rows.view())));
        // Setting the weights does the same.
        model.set_weights(model.weights());
        loaded.fit(rows.source(), nullptr, {});
        model.fit(rows.source(), nullptr, {});
        CHECK(loaded.state().epoch == 6 && loaded.state().step == 9);
        CHECK(same_tensors(loaded.store(true).state.tensors, model.store(true).state.tensors));

        stored.state.tensors.params.pop_back();
        CHECK_THROWS(Autoencoder(stored, *device, {}), ErrorKind::value);
    }
}

TEST(a_callback_may_look_but_not_train) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        std::vector<StoredModel> seen;
        Hooks hooks;
        hooks.on_epoch_end = [&](const EpochInfo&) {
            CHECK_THROWS(model.fit(rows.source(), nullptr, {}), ErrorKind::runtime);
            CHECK_THROWS(model.partial_fit(rows.source(), {}), ErrorKind::runtime);
            CHECK_THROWS(model.set_weights(model.weights()), ErrorKind::runtime);
            CHECK_THROWS(model.configure(model.configuration()), ErrorKind::runtime);
            seen.push_back(model.store(true));
            return false;
        };
        CHECK(model.fit(rows.source(), nullptr, hooks) == FitEnd::epochs_done);
        CHECK(same_tensors(seen.back().state.tensors, model.store(true).state.tensors));
        Autoencoder from_second(seen[1], *device, {});  // what a callback stores goes on like the original
        Configuration configuration = model.configuration();
        configuration.epochs = 1;
        from_second.configure(configuration);
        from_second.fit(rows.source(), nullptr, {});
        CHECK(same_tensors(from_second.store(true).state.tensors, model.store(true).state.tensors));
        model.fit(rows.source(), nullptr, {});
        CHECK(model.state().epoch == 6);
    }
}

TEST(many_threads_may_infer_at_once) {
    const Rows rows = make_rows(300, kWidth);
    for (const Device* device : devices()) {
        const Autoencoder model = make_autoencoder(*device);
        const std::vector<float> expected = encoded(model, rows.view());
        std::vector<std::vector<float>> got(8);
        std::vector<std::thread> threads;
        for (auto& code : got) threads.emplace_back([&] { code = encoded(model, rows.view()); });
        for (std::thread& thread : threads) thread.join();
        for (const auto& code : got) CHECK(same_bits(code, expected));
    }
}

TEST(configure_changes_training) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        model.fit(rows.source(), nullptr, {});
        Configuration next = model.configuration();
        next.decoder_layers = {7};  // what the mirror was
        next.optimizer = Optimizer::adamw;
        model.configure(next);
        CHECK(model.state().step == 9);  // adam's moments are adamw's
        next.optimizer = Optimizer::sgd;
        model.configure(next);
        CHECK(model.state().step == 0 && model.state().epoch == 3);
        Autoencoder fresh(model.store(false), *device, {});
        model.fit(rows.source(), nullptr, {});
        fresh.fit(rows.source(), nullptr, {});
        CHECK(same_tensors(model.store(true).state.tensors, fresh.store(true).state.tensors));
    }
}
