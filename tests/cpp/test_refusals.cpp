// SPDX-License-Identifier: Apache-2.0
// What a model refuses, how it says so, and that a refusal changes nothing.
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/permutation.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

// Runs body, which must throw Error(value) with this message and leave the model as it was.
template <class Body>
void refuses(Autoencoder& model, const std::string& message, Body&& body) {
    const StoredModel before = model.store(true);
    std::string got = "nothing was thrown";
    try {
        body();
    } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::value);
        got = error.what();
    }
    if (got != message) std::printf("expected: %s\n     got: %s\n", message.c_str(), got.c_str());
    CHECK(got == message);
    const StoredModel after = model.store(true);
    CHECK(same_tensors(after.state.tensors, before.state.tensors) && same_progress(after.state, before.state));
    CHECK(same_bits(model.store(true).state.tensors.params, after.state.tensors.params));
}

}  // namespace

TEST(rows_are_checked_at_the_door) {
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.loss = Loss::bce;
        Autoencoder model = make_autoencoder(*device, configuration);
        const Rows good{uniform(20 * kWidth, 1, 0.0, 1.0), kWidth};
        model.fit(good.source(), nullptr, {});
        const auto fit = [&](const RowSource& source) { return [&] { model.fit(source, nullptr, {}); }; };
        const auto validate = [&](const RowSource& held_out) {
            return [&] {
                const Samples validation = held_out;
                model.fit(good.source(), &validation, {});
            };
        };

        const Rows narrow = make_rows(20, 3);
        refuses(model, "X has 3 features, but this model was fitted with 5", fit(narrow.source()));
        refuses(model, "validation_data has 3 features, but this model was fitted with 5", validate(narrow.source()));
        refuses(model, "X has 0 rows; at least 1 is needed",
                fit({{good.values.data(), 0, kWidth, kWidth}, {}, nullptr}));

        Rows bad = good;
        bad.values[3 * kWidth + 4] = std::nanf("");
        refuses(model, "X[3, 4] is nan; X must be finite (no NaN, no infinity)", fit(bad.source()));
        refuses(model, "X[3, 4] is nan; X must be finite (no NaN, no infinity)", [&] { encoded(model, bad.view()); });
        refuses(model, "X[3, 4] is nan; X must be finite (no NaN, no infinity)", [&] { model.evaluate(bad.source()); });
        refuses(model, "X[3, 4] is nan; X must be finite (no NaN, no infinity)",
                [&] { model.gradients(bad.source()); });
        refuses(model, "X[3, 4] is nan; X must be finite (no NaN, no infinity)",
                [&] { model.partial_fit(bad.source(), {}); });
        bad.values[3 * kWidth + 4] = -INFINITY;
        refuses(model, "validation_data[3, 4] is -inf; validation_data must be finite (no NaN, no infinity)",
                validate(bad.source()));
        bad.values[3 * kWidth + 4] = 1.7F;
        refuses(model, "X[3, 4] is 1.7; loss=\"bce\" needs values in [0, 1]", fit(bad.source()));
        bad.values[3 * kWidth + 4] = 1.0F + 1e-6F;  // rounding
        model.fit(bad.source(), nullptr, {});
        bad.values[3 * kWidth + 4] = -1e-5F;

        RowSource pair = good.source();
        pair.targets = bad.view();
        refuses(model, "validation_data[1][3, 4] is -1e-05; loss=\"bce\" needs values in [0, 1]", validate(pair));
        pair.targets = MatrixView{bad.values.data(), 19, kWidth, kWidth};
        refuses(model, "validation_data[1] has 19 rows, but validation_data[0] has 20", validate(pair));

        RowSource weighted = good.source();
        std::vector<float> weights(20, 1.0F);
        weighted.weights = weights.data();
        weights[7] = -1.0F;
        refuses(model, "sample_weight[7] is -1; weights must be finite and at least 0", fit(weighted));
        weights[7] = INFINITY;
        refuses(model, "sample_weight[7] is inf; weights must be finite and at least 0", fit(weighted));
        weights.assign(20, 0.0F);
        refuses(model, "sample_weight is zero for every row; at least one must be above 0", fit(weighted));

        const Rows code = make_rows(4, 2);
        std::vector<float> out(20);
        refuses(model, "Z has 2 columns, but this model's code has 3",
                [&] { model.decode(code.view(), {out.data(), 4, kWidth, kWidth}); });
        const MutableMatrixView wrong{out.data(), 4, 4, 4};
        refuses(model, "the output has shape (4, 4); (20, 5) is needed",
                [&] { model.reconstruct(good.view(), wrong); });
    }
}

TEST(weight_on_one_side_of_a_split_is_refused) {
    const Rows rows = make_rows(30, kWidth);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.validation_fraction = 0.3;
        Autoencoder model = make_autoencoder(*device, configuration);
        const Split split = split_rows(11, 0.3, 30);
        RowSource source = rows.source();
        std::vector<float> one_sided(30, 0.0F);
        for (const std::int64_t row : split.validation) one_sided[static_cast<std::size_t>(row)] = 1.0F;
        source.weights = one_sided.data();
        refuses(model, "sample_weight is 0 for every row that validation_fraction leaves to train on",
                [&] { model.fit(source, nullptr, {}); });
        for (float& weight : one_sided) weight = 1.0F - weight;
        refuses(model, "sample_weight is 0 for every row that validation_fraction holds back",
                [&] { model.fit(source, nullptr, {}); });
        const RowSource single{{rows.values.data(), 1, kWidth, kWidth}, {}, nullptr};
        refuses(model,
                "validation_fraction needs at least 2 rows, one to hold back and one to train on; X has 1 sample",
                [&] { model.fit(single, nullptr, {}); });
    }
}

TEST(weights_that_do_not_fit_are_refused) {
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        std::vector<float> flat = model.weights();
        const std::string n = std::to_string(flat.size());
        const auto set = [&] { model.set_weights(flat); };
        const Parameter& code = model.program().parameters[2];
        float& value = flat[static_cast<std::size_t>(code.offset + 2 * code.cols + 1)];
        value = -std::nanf("");
        refuses(model, "encoder.1.weight[2, 1] is nan; encoder.1.weight must be finite (no NaN, no infinity)", set);
        value = 0.5F;
        set();
        CHECK(same_bits(model.weights(), flat) && same_bits(model.store(true).state.tensors.params, flat));
        flat.push_back(0.0F);
        refuses(model, "weights has " + std::to_string(flat.size()) + " values; " + n + " are needed", set);
    }
}

TEST(a_scaling_that_does_not_fit_is_refused) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder plain = make_autoencoder(*device);
        const std::vector<double> shift(kWidth, 0.5);
        CHECK_THROWS(plain.set_scaling({shift, shift}), ErrorKind::runtime);
        Configuration configuration = small_configuration();
        configuration.scaling = ScalingKind::standard;
        Autoencoder model = make_autoencoder(*device, configuration);
        const std::string n = std::to_string(kWidth);
        refuses(model, "shift has 1 values; " + n + " are needed", [&] { model.set_scaling({{0.0}, shift}); });
        refuses(model, "scale has 0 values; " + n + " are needed", [&] { model.set_scaling({shift, {}}); });
        std::vector<double> wrong = shift;
        wrong[1] = -2.0;
        refuses(model, "scale[1] is -2.0; it must be finite and above 0", [&] { model.set_scaling({shift, wrong}); });
        wrong[1] = std::numeric_limits<double>::infinity();
        refuses(model, "shift[1] is inf; it must be finite", [&] { model.set_scaling({wrong, shift}); });
        CHECK(model.scaling().empty());
        model.set_scaling({shift, std::vector<double>(kWidth, 2.0)});
        model.fit(rows.source(), nullptr, {});
        CHECK(model.scaling().shift == shift && model.scaling().scale[0] == 2.0);  // training keeps it
    }
}

TEST(a_fitted_network_cannot_be_configured_into_another) {
    const Rows rows = make_rows(20, kWidth);
    for (const Device* device : devices()) {
        Autoencoder model = make_autoencoder(*device);
        model.fit(rows.source(), nullptr, {});
        const Configuration now = model.configuration();
        const auto changed = [&](const std::string& message, auto&& change) {
            Configuration configuration = now;
            change(configuration);
            refuses(model, message + "; on a model that goes on training it cannot change",
                    [&] { model.configure(configuration); });
        };
        changed("encoder_layers is [7,2], but this model was made with [7,3]",
                [](Configuration& c) { c.encoder_layers = {7, 2}; });
        changed("encoder_layers is [7], but this model was made with [7,3]",
                [](Configuration& c) { c.encoder_layers = {7}; });
        changed("encoder_layers is null, but this model was made with [7,3]",
                [](Configuration& c) { c.encoder_layers.reset(); });
        changed("decoder_layers is [8], but this model was made with null",
                [](Configuration& c) { c.decoder_layers = {8}; });
        changed("activation is \"relu\", but this model was made with \"tanh\"",
                [](Configuration& c) { c.activation = Activation::relu; });
        changed("code_activation is \"relu\", but this model was made with \"linear\"",
                [](Configuration& c) { c.code_activation = Activation::relu; });
        changed("output_activation is \"relu\", but this model was made with null",
                [](Configuration& c) { c.output_activation = Activation::relu; });
        changed("loss is \"mae\", but this model was made with \"mse\"", [](Configuration& c) { c.loss = Loss::mae; });
        changed("precision is \"tf32\", but this model was made with \"float32\"",
                [](Configuration& c) { c.precision = Precision::tf32; });
    }
}
