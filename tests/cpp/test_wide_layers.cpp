// SPDX-License-Identifier: Apache-2.0
// Layers and data so large that the CPU packs columns and panels and fetches panels and rows ahead: gradients and three
// steps against the reference, and the same bits for any number of threads. Widths are no multiple of a panel.
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "every_instruction_set.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

constexpr std::int64_t kFeatures = 333;
constexpr std::int64_t kBatch = 70;
constexpr std::int64_t kRows = 800;  // 1 MB: more than stays in L2

Program wide_program() {
    Configuration configuration;
    configuration.encoder_layers = {300, 70};
    configuration.activation = Activation::tanh;
    return build_program(configuration, kFeatures);
}

struct Never final : Stop {
    bool requested() override { return false; }
};

Tensors after_three_steps(const Device& device, const CompileOptions& options, const RowSource& source) {
    const Program program = wide_program();
    const auto model = device.compile(program, options);
    model->write({initial_weights(program, 3), {}, {}});
    std::vector<std::int64_t> rows(3 * kBatch);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i) * 389 % kRows;
    const std::vector<double> rates(3, 1e-3);
    StepRange range;
    range.batch_size = kBatch;
    range.rows = rows;
    range.learning_rates = rates;
    Never never;
    CHECK(model->train(source, range, UpdateRule{}, nullptr, never).steps_done == 3);
    Tensors tensors;
    model->read(tensors);
    return tensors;
}

}  // namespace

TEST(gradients_are_the_references) {
    const Rows data = make_rows(kBatch, kFeatures);
    const Program program = wide_program();
    const auto gradient_on = [&](const Device& device) {
        const auto model = device.compile(program, {});
        model->write({initial_weights(program, 3), {}, {}});
        std::vector<float> gradient(static_cast<std::size_t>(program.flat_size));
        model->gradient(data.source(), gradient);
        return gradient;
    };
    const std::vector<float> expected = gradient_on(*devices()[0]);
    for_each_instruction_set([&] {
        const std::vector<float> found = gradient_on(*devices()[1]);
        for (const Parameter& parameter : program.parameters) {
            const auto part = [&](const std::vector<float>& flat) {
                const auto begin = flat.begin() + parameter.offset;
                return std::vector<float>(begin, begin + parameter.size());
            };
            CHECK(relative_error(part(found), part(expected)) < 1e-5);
        }
    });
}

TEST(three_steps_are_the_references_on_any_number_of_threads) {
    const Rows data = make_rows(kRows, kFeatures);
    const Tensors expected = after_three_steps(*devices()[0], {}, data.source());
    for_each_instruction_set([&] {
        CompileOptions options;
        options.n_threads = 1;
        const Tensors found = after_three_steps(*devices()[1], options, data.source());
        CHECK(relative_error(found.params, expected.params) < 1e-5);
        CHECK(relative_error(found.m, expected.m) < 1e-5);
        CHECK(relative_error(found.v, expected.v) < 1e-5);
        for (const StepPlan plan : {StepPlan::fused, StepPlan::split}) {
            for (const int threads : {2, 3, 5}) {
                options.n_threads = threads;
                options.step_plan = plan;
                CHECK(same_tensors(after_three_steps(*devices()[1], options, data.source()), found));
            }
        }
    });
}

// 1,100 inputs are two slices of k where a block has rows enough; a row alone is one.
TEST(slices_of_k_are_one_chain) {
    constexpr std::int64_t kDeep = 1100;
    constexpr std::int64_t kMany = 130;
    const Rows data = make_rows(kMany, kDeep);
    for (const Activation activation : {Activation::relu, Activation::tanh, Activation::gelu}) {
        Configuration configuration;
        configuration.encoder_layers = {kDeep + 5, 33};
        configuration.activation = activation;
        const Program program = build_program(configuration, kDeep);
        const std::vector<float> params = initial_weights(program, 3);
        const auto gradient_on = [&](const Device& device) {
            const auto model = device.compile(program, {});
            model->write({params, {}, {}});
            std::vector<float> gradient(params.size());
            model->gradient(data.source(), gradient);
            return gradient;
        };
        const std::vector<float> expected = gradient_on(*devices()[0]);
        for_each_instruction_set([&] {
            CHECK(relative_error(gradient_on(*devices()[1]), expected) < 1e-5);
            CompileOptions options;
            options.n_threads = 1;
            const auto model = devices()[1]->compile(program, options);
            model->write({params, {}, {}});
            std::vector<float> whole(data.values.size());
            std::vector<float> single(data.values.size());
            const std::size_t ops = program.ops.size();
            CHECK(model->run(0, ops, data.view(), {whole.data(), kMany, kDeep, kDeep}));
            for (std::int64_t r = 0; r < kMany; ++r) {
                CHECK(model->run(0, ops, {data.view().row(r), 1, kDeep, kDeep},
                                 {single.data() + r * kDeep, 1, kDeep, kDeep}));
            }
            CHECK(same_bits(single, whole));
        });
    }
}

TEST(a_value_that_is_not_finite_is_found_wherever_it_is) {
    const Rows clean = make_rows(300, kFeatures);
    const Program program = wide_program();
    for (const int threads : {1, 3}) {
        CompileOptions options;
        options.n_threads = threads;
        for (const Device* device : devices()) {
            const auto model = device->compile(program, options);
            model->write({initial_weights(program, 3), {}, {}});
            for (const std::int64_t rows : {1, 7, 300}) {
                std::vector<float> out(static_cast<std::size_t>(rows * kFeatures));
                for (const std::int64_t at : {std::int64_t{-1}, std::int64_t{0}, rows * kFeatures - 1}) {
                    for (const float bad : {std::nanf(""), -INFINITY}) {
                        Rows data = clean;
                        if (at >= 0) data.values[static_cast<std::size_t>(at)] = bad;
                        CHECK(model->run(0, program.ops.size(), {data.values.data(), rows, kFeatures, kFeatures},
                                         {out.data(), rows, kFeatures, kFeatures}) == (at < 0));
                    }
                }
            }
        }
    }
}
