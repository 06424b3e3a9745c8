// SPDX-License-Identifier: Apache-2.0
// Kinds of networks on every device: tied weights, sparse codes, drawn codes. Each device's training against the
// reference, its plans, and what a code is at inference.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "cuda_plans.hpp"

using namespace fixture;

namespace {

struct Kind {
    std::string name;
    Configuration configuration;
};

Kind kind(const std::string& name, bool tied, double l1, std::int64_t keep, double kl = -1.0) {
    Configuration configuration = small_configuration();
    configuration.encoder_layers = {9, 5};
    configuration.tied_weights = tied;
    configuration.code_l1 = l1;
    if (keep > 0) configuration.code_topk = keep;
    if (kl >= 0.0) {
        configuration.kind = ModelKind::variational_autoencoder;
        configuration.kl_weight = kl;
    }
    return {name, configuration};
}

std::vector<Kind> kinds() {
    return {kind("tied", true, 0.0, 0),      kind("l1", false, 0.05, 0),      kind("top-k", false, 0.0, 2),
            kind("all of it", true, 0.1, 3), kind("drawn", false, 0, 0, 1.0), kind("drawn, free", false, 0, 0, 0.0)};
}

bool near(const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (!(std::abs(a[i] - b[i]) <= 1e-5 * std::abs(b[i]))) return false;
    }
    return true;
}

// Initial weights and rows of a program on a device.
std::unique_ptr<Model> compiled(const Device& device, const Program& program, const CompileOptions& options = {}) {
    auto model = device.compile(program, options);
    model->write({initial_weights(program, 7), {}, {}});
    return model;
}

std::vector<float> run(const Model& model, const Program& program, std::size_t first, std::size_t last,
                       MatrixView rows) {
    const std::int64_t width = program.width(last);
    std::vector<float> out(static_cast<std::size_t>(rows.rows * width));
    CHECK(model.run(first, last, rows, {out.data(), rows.rows, width, width}));
    return out;
}

}  // namespace

TEST(devices_follow_the_reference) {
    const Rows rows = make_rows(60, 6);
    for (const Kind& kind : kinds()) {
        for (const Optimizer optimizer : {Optimizer::adam, Optimizer::adamw, Optimizer::sgd}) {
            for (const double clip_norm : {0.0, 0.05}) {
                Configuration configuration = kind.configuration;
                configuration.optimizer = optimizer;
                configuration.momentum = 0.9;
                configuration.epsilon = 1e-4;
                if (clip_norm > 0.0) configuration.clip_norm = clip_norm;
                Trained expected(*devices().front(), configuration, 6);
                expected.fit_epochs(6, rows.source());
                CHECK(expected.state.history.penalty.size() == (expected.program.penalty ? 6 : 0));
                for (const Device* device : devices()) {
                    Trained trained(*device, configuration, 6);
                    trained.fit_epochs(6, rows.source());
                    const bool right =
                        relative_error(trained.state.tensors.params, expected.state.tensors.params) < 1e-5 &&
                        near(trained.state.history.loss, expected.state.history.loss) &&
                        near(trained.state.history.penalty, expected.state.history.penalty);
                    if (!right) std::printf("%s, %s\n", device->name().c_str(), kind.name.c_str());
                    CHECK(right);
                }
                // The tolerance is worth something: without what makes the kind, the weights are others.
                Configuration plain = configuration;
                plain.code_l1 = 0.0;
                plain.code_topk.reset();
                plain.kl_weight = 0.5;
                if (configuration.code_l1 > 0.0 || configuration.code_topk || expected.program.penalty) {
                    Trained other(*devices().front(), plain, 6);
                    other.fit_epochs(6, rows.source());
                    CHECK(relative_error(expected.state.tensors.params, other.state.tensors.params) > 1e-4);
                }
            }
        }
    }
}

TEST(draws_are_keyed_by_seed_epoch_and_row) {
    const Rows rows = make_rows(32, 6);
    Rows turned = rows;  // each row in another place
    std::vector<std::int64_t> order;
    for (std::int64_t r = 0; r < 32; ++r) {
        order.push_back((r + 5) % 32);
        std::copy_n(rows.view().row(r), 6, turned.values.begin() + 6 * ((r + 5) % 32));
    }
    const Kind drawn = kind("drawn", false, 0.0, 0, 1.0);
    const Program program = build_program(drawn.configuration, 6);
    const auto train = [&](const Device& device, const Rows& from, std::span<const std::int64_t> numbers,
                           std::uint64_t seed, std::uint32_t epoch) {
        const auto model = compiled(device, program);
        const std::vector<double> rates{0.01};
        StepRange range;
        range.batch_size = 32;
        range.rows = numbers;
        range.learning_rates = rates;
        range.noise = {NoiseKind::gaussian, 0.0F, seed, epoch};
        Never never;
        Tensors tensors;
        const Totals totals = model->train(from.source(), range, {}, nullptr, never);
        CHECK(totals.penalty_sum > 0.0 && totals.steps_done == 1);
        model->read(tensors);
        return tensors.params;
    };
    std::vector<std::int64_t> straight(32);
    for (std::int64_t r = 0; r < 32; ++r) straight[static_cast<std::size_t>(r)] = r;
    for (const Device* device : devices()) {
        const std::vector<float> once = train(*device, rows, straight, 3, 1);
        CHECK(same_bits(once, train(*device, rows, straight, 3, 1)));
        CHECK(relative_error(once, train(*device, rows, straight, 4, 1)) > 1e-5);
        CHECK(relative_error(once, train(*device, rows, straight, 3, 2)) > 1e-5);
        CHECK(relative_error(once, train(*device, turned, order, 3, 1)) > 1e-5);  // the same rows under other numbers
    }
}

TEST(the_same_bits_by_every_plan_and_number_of_threads) {
    const Rows rows = make_rows(200, 37);
    for (Kind kind : kinds()) {
        kind.configuration.encoder_layers = {29, 11};
        const Program program = build_program(kind.configuration, 37);
        const Range range(row_numbers(200, 200), 32);
        std::vector<Result> results;
        for (const int threads : {1, 2, 3, 5}) {
            for (const StepPlan plan : {StepPlan::automatic, StepPlan::split}) {
                CompileOptions options;
                options.n_threads = threads;
                options.step_plan = plan;
                results.push_back(train(cpu::device(), program, rows.source(), range.range, {}, options));
            }
        }
        for (const Result& result : results) CHECK(same(result, results.front()));
        // On a GPU: with a graph of several steps and without one, in ranges of one step.
        Training whole(program, rows.source(), {});
        Training pieces(program, rows.source(), {});
        const Totals totals = whole.run(range.range);
        CHECK(same(totals, pieces.run_in_pieces(range.range, 1)));
        CHECK(same_tensors(whole.tensors(), pieces.tensors()));
    }
}

TEST(codes_at_inference) {
    constexpr std::int64_t kRows = 70;
    const Rows rows = make_rows(kRows, 37);
    for (Kind kind : kinds()) {
        for (const std::int64_t width : {11, 16}) {
            kind.configuration.encoder_layers = {29, width};
            const Program program = build_program(kind.configuration, 37);
            const std::size_t code = program.code_op + 1;
            const auto reference = compiled(*devices().front(), program);
            for (const Device* device : devices()) {
                const auto model = compiled(*device, program);
                const std::vector<float> codes = run(*model, program, 0, code, rows.view());
                CHECK(relative_error(codes, run(*reference, program, 0, code, rows.view())) < 1e-5);
                for (std::int64_t r = 0; kind.configuration.code_topk && r < kRows; ++r) {
                    const auto begin = codes.begin() + r * width;
                    CHECK(std::count(begin, begin + width, 0.0F) == width - *kind.configuration.code_topk);
                }
                const std::vector<float> whole = run(*model, program, 0, program.ops.size(), rows.view());
                const MatrixView coded{codes.data(), kRows, width, width};
                CHECK(same_bits(run(*model, program, code, program.ops.size(), coded), whole) ||
                      device == devices().front());  // which is double inside
                CHECK(relative_error(whole, run(*reference, program, 0, program.ops.size(), rows.view())) < 1e-5);
                std::vector<double> errors(kRows);
                std::vector<double> expected(kRows);
                model->row_errors(rows.source(), errors, std::nullopt);
                reference->row_errors(rows.source(), expected, std::nullopt);
                CHECK(near(errors, expected));
                // What the encoder's layer gives before anything is done to it: of a drawn code means and log
                // variances.
                const std::size_t before = program.code_op;
                if (std::holds_alternative<Dense>(program.ops[before])) continue;
                const std::vector<float> given = run(*model, program, 0, before, rows.view());
                CHECK(relative_error(given, run(*reference, program, 0, before, rows.view())) < 1e-5);
                if (device == devices().front()) continue;
                for (const std::int64_t chunk : {1, 3, 16}) {
                    for (std::int64_t r = 0; r < kRows; r += chunk) {
                        const std::int64_t count = std::min(chunk, kRows - r);
                        const std::vector<float> part =
                            run(*model, program, 0, program.ops.size(), {rows.view().row(r), count, 37, 37});
                        CHECK(std::equal(part.begin(), part.end(), whole.begin() + r * 37));
                    }
                }
            }
        }
    }
}

TEST(ties_go_to_the_lower_index_and_nan_stays) {
    Configuration configuration;
    configuration.encoder_layers = {8};
    configuration.code_topk = 3;
    const Program program = build_program(configuration, 8);
    Tensors tensors;
    tensors.params.resize(static_cast<std::size_t>(program.flat_size));
    for (int i = 0; i < 8; ++i) tensors.params[static_cast<std::size_t>(9 * i)] = 1.0F;  // the code is the row
    const float largest = std::numeric_limits<float>::max();
    const std::vector<std::vector<float>> rows{{0, 0, 0, 0, 0, 0, 0, 0},
                                               {1, 1, 1, 1, 1, 1, 1, 1},
                                               {-1, -2, -1, -2, -1, -2, 3, 3},
                                               {5, 4, 3, 2, 1, 0, -1, -2},
                                               {-5, -4, -3, -2, -1, 0, 1, 2},
                                               {0.0F, -0.0F, 0, -1, 0, 0, 0, 0},
                                               {-largest, largest, 1, 1, -1, -1, -largest, largest}};
    const std::vector<std::vector<std::size_t>> kept{{0, 1, 2}, {0, 1, 2}, {0, 6, 7}, {0, 1, 2},
                                                     {5, 6, 7}, {0, 1, 2}, {1, 2, 7}};
    for (const Device* device : devices()) {
        const auto model = device->compile(program, {});
        model->write(tensors);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::vector<float> code = run(*model, program, 0, 2, {rows[i].data(), 1, 8, 8});
            for (std::size_t j = 0; j < 8; ++j) {
                const bool stays = std::count(kept[i].begin(), kept[i].end(), j) > 0;
                CHECK(code[j] == (stays ? rows[i][j] : 0.0F));
            }
        }
    }
    // A sum that overflows and cancels is NaN: it must not be dropped, whatever its sign bit.
    for (int i = 0; i < 8; ++i) tensors.params[static_cast<std::size_t>(8 * 5 + i)] = i % 2 == 0 ? largest : -largest;
    const std::vector<float> large(8, largest);
    for (const Device* device : devices()) {
        if (device == devices().front()) continue;  // double does not overflow there
        const auto model = device->compile(program, {});
        model->write(tensors);
        std::vector<float> code(8);
        model->run(0, 2, {large.data(), 1, 8, 8}, {code.data(), 1, 8, 8});
        CHECK(!std::isfinite(code[5]));
    }
}

TEST(a_penalty_beyond_float_is_a_divergence) {
    Kind drawn = kind("drawn", false, 0.0, 0, 1.0);
    const Program program = build_program(drawn.configuration, 6);
    const Rows rows = make_rows(8, 6);
    Tensors tensors{initial_weights(program, 7), {}, {}};
    const auto* const code = std::get_if<Dense>(&program.ops[1]);
    const Parameter& bias = program.parameters[code->bias];
    for (std::int64_t i = 5; i < 10; ++i) tensors.params[static_cast<std::size_t>(bias.offset + i)] = 100.0F;
    const Range range(row_numbers(8, 8), 8);
    for (const Device* device : devices()) {
        if (device == devices().front()) continue;  // e^100 is a double
        const auto model = device->compile(program, {});
        model->write(tensors);
        Never never;
        CHECK(model->train(rows.source(), range.range, {}, nullptr, never).status == Status::diverged);
    }
}

TEST(plans_that_cannot_do_it_decline) {
    for (const Kind& kind : kinds()) {
        const Program program = build_program(kind.configuration, 30);
        const cuda::Plan plan = plan_of(program, 2000, 100, kH200);
        CHECK(plan.kind == cuda::PlanKind::layer_by_layer && plan.steps_a_graph > 0);
        CHECK(plan.one_block.why_not != nullptr && plan.two_kernels.why_not != nullptr);
        Configuration plain = kind.configuration;
        plain.kind = ModelKind::autoencoder;
        plain.tied_weights = false;
        plain.code_l1 = 0.0;
        plain.code_topk.reset();
        CHECK(plan_of(build_program(plain, 30), 2000, 100, kH200).kind != cuda::PlanKind::layer_by_layer);
    }
}
