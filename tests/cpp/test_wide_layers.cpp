// SPDX-License-Identifier: Apache-2.0
// Layers and data so large that the CPU packs columns and panels and fetches panels and rows ahead: gradients and three
// steps against the reference, and the same bits for any number of threads. Widths are no multiple of a panel.
#include <string>
#include <vector>

#include "check.hpp"
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

template <class F>
void for_each_instruction_set(F&& f) {
    const std::string before = cpu::instruction_set();
    for (const std::string& name : cpu::instruction_sets()) {
        cpu::use_instruction_set(name);
        f();
    }
    cpu::use_instruction_set(before);
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
