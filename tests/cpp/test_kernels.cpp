// SPDX-License-Identifier: Apache-2.0
// The CPU device below the trainer: every instruction set of this machine, integer data compared exactly (sums of
// products below 2^24 have one right answer), outputs poisoned with NaN, tile edges in every dimension.
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/program.hpp"
#include "cpu/cpu.hpp"
#include "every_instruction_set.hpp"
#include "math/names.hpp"

namespace {

using namespace isthmus;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// One to two tiles and one more of every instruction set: 14 rows, panels of 8, 16 and 32, weight tiles of 64.
const std::vector<std::int64_t> kSizes = {1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 29, 31, 32, 33, 63, 64, 65, 129};

struct Matrix {
    std::vector<float> values;
    std::int64_t rows, cols, stride;

    // Rows further apart than they are wide; what is between them must not be read as data nor written.
    Matrix(std::int64_t r, std::int64_t c, float fill)
        : values(static_cast<std::size_t>(r * (c + 3)), fill), rows(r), cols(c), stride(c + 3) {}
    float& at(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * stride + c)]; }
    MutableMatrixView view() { return {values.data(), rows, cols, stride}; }
};

Matrix integers(std::int64_t rows, std::int64_t cols, int salt) {
    Matrix m(rows, cols, kNaN);
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c)
            m.at(r, c) = static_cast<float>((r * 7 + c * 13 + salt * 5 + r * c) % 9 - 4);
    }
    return m;
}

bool gap_untouched(Matrix& m) {
    for (std::int64_t r = 0; r < m.rows; ++r) {
        for (std::int64_t c = m.cols; c < m.stride; ++c) {
            if (!std::isnan(m.values[static_cast<std::size_t>(r * m.stride + c)])) return false;
        }
    }
    return true;
}

// Every size in each place, the other two walking through the list at other speeds.
template <class F>
void for_each_shape(F&& f) {
    const std::size_t n = kSizes.size();
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; j += 2) f(kSizes[i], kSizes[(i * 5 + j * 3) % n], kSizes[(i * 7 + j) % n]);
    }
}

std::vector<float> patterned(std::int64_t size, double scale) {
    std::vector<float> x(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(scale * std::sin(0.37 * static_cast<double>(i) + 1.0));
    return x;
}

struct Never final : Stop {
    bool requested() override { return false; }
};

// Parameters after three steps of an odd network: three, since a padded lane that strays shows from the third.
std::vector<float> train_odd_network(Activation activation, const std::vector<std::int64_t>& widths, std::int64_t batch,
                                     int threads, StepPlan plan, std::optional<double> clip_norm) {
    Configuration configuration;
    configuration.encoder_layers = std::vector<std::int64_t>(widths.begin() + 1, widths.end());
    configuration.activation = activation;
    const Program program = build_program(configuration, widths.front());
    CompileOptions options;
    options.n_threads = threads;
    options.step_plan = plan;
    const auto model = cpu::device().compile(program, options);
    model->write({initial_weights(program, 7), {}, {}});

    const std::int64_t n = 3 * batch - batch / 2;
    const std::vector<float> x = patterned(n * widths.front(), 1.0);
    const RowSource source{{x.data(), n, widths.front(), widths.front()}, {}, nullptr};
    std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
    std::iota(rows.rbegin(), rows.rend(), std::int64_t{0});
    const std::vector<double> rates(3, 1e-2);
    StepRange range;
    range.batch_size = batch;
    range.rows = rows;
    range.learning_rates = rates;
    range.noise = {NoiseKind::gaussian, 0.1F, 3, 1};
    UpdateRule rule;
    rule.clip_norm = clip_norm;
    Never never;
    const Totals totals = model->train(source, range, rule, nullptr, never);
    CHECK(totals.status == Status::complete);
    CHECK(totals.steps_done == 3);
    Tensors tensors;
    model->read(tensors);
    return tensors.params;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST(dense_forward_is_exact_on_integers) {
    fixture::for_each_instruction_set([&] {
        for_each_shape([](std::int64_t n, std::int64_t in, std::int64_t out) {
            Matrix x = integers(n, in, 1);
            Matrix w = integers(out, in, 2);
            const std::vector<float> bias = integers(1, out, 3).values;
            Matrix y(n, out, kNaN);
            cpu::device().kernels().dense_forward(x.view(), w.view(), bias.data(), Activation::linear, y.view(), {});
            bool equal = true;
            for (std::int64_t r = 0; r < n; ++r) {
                for (std::int64_t o = 0; o < out; ++o) {
                    float sum = bias[static_cast<std::size_t>(o)];
                    for (std::int64_t i = 0; i < in; ++i) sum += x.at(r, i) * w.at(o, i);
                    equal &= y.at(r, o) == sum;
                }
            }
            CHECK(equal && gap_untouched(y));
        });
    });
}

TEST(dense_backward_input_is_exact_on_integers) {
    fixture::for_each_instruction_set([&] {
        for_each_shape([](std::int64_t n, std::int64_t in, std::int64_t out) {
            Matrix dz = integers(n, out, 1);
            Matrix w = integers(out, in, 2);
            Matrix dx(n, in, kNaN);
            cpu::device().kernels().dense_backward_input(dz.view(), w.view(), dx.view(), {});
            bool equal = true;
            for (std::int64_t r = 0; r < n; ++r) {
                for (std::int64_t i = 0; i < in; ++i) {
                    float sum = 0.0F;
                    for (std::int64_t o = 0; o < out; ++o) sum += dz.at(r, o) * w.at(o, i);
                    equal &= dx.at(r, i) == sum;
                }
            }
            CHECK(equal && gap_untouched(dx));
        });
    });
}

TEST(dense_backward_weight_is_exact_on_integers) {
    fixture::for_each_instruction_set([&] {
        for_each_shape([](std::int64_t n, std::int64_t in, std::int64_t out) {
            Matrix x = integers(n, in, 1);
            Matrix dz = integers(n, out, 2);
            Matrix dw(out, in, kNaN);
            std::vector<float> db(static_cast<std::size_t>(out), kNaN);
            cpu::device().kernels().dense_backward_weight(x.view(), dz.view(), dw.view(), db.data(), {});
            bool equal = true;
            for (std::int64_t o = 0; o < out; ++o) {
                float bias = 0.0F;
                for (std::int64_t r = 0; r < n; ++r) bias += dz.at(r, o);
                equal &= db[static_cast<std::size_t>(o)] == bias;
                for (std::int64_t i = 0; i < in; ++i) {
                    float sum = 0.0F;
                    for (std::int64_t r = 0; r < n; ++r) sum += dz.at(r, o) * x.at(r, i);
                    equal &= dw.at(o, i) == sum;
                }
            }
            CHECK(equal && gap_untouched(dw));
        });
    });
}

TEST(more_rows_than_a_piece_keep_one_sum) {
    fixture::for_each_instruction_set([&] {
        const std::int64_t n = 2500;
        Matrix x = integers(n, 5, 1);
        Matrix dz = integers(n, 3, 2);
        Matrix dw(3, 5, kNaN);
        cpu::device().kernels().dense_backward_weight(x.view(), dz.view(), dw.view(), nullptr, {});
        bool equal = true;
        for (std::int64_t o = 0; o < 3; ++o) {
            for (std::int64_t i = 0; i < 5; ++i) {
                float sum = 0.0F;
                for (std::int64_t r = 0; r < n; ++r) sum += dz.at(r, o) * x.at(r, i);
                equal &= dw.at(o, i) == sum;
            }
        }
        CHECK(equal);
    });
}

TEST(plans_and_threads_give_the_same_bits) {
    const std::vector<std::vector<std::int64_t>> networks = {{123, 77, 9}, {33, 1}, {10, 64, 32}, {65, 129, 130}};
    fixture::for_each_instruction_set([&] {
        for (const auto& widths : networks) {
            for (const std::int64_t batch : {1, 7, 64, 1500}) {
                const auto fused = train_odd_network(Activation::relu, widths, batch, 1, StepPlan::fused, {});
                for (const int threads : {1, 2, 3, 7}) {
                    CHECK(same_bits(fused,
                                    train_odd_network(Activation::relu, widths, batch, threads, StepPlan::fused, {})));
                    CHECK(same_bits(fused,
                                    train_odd_network(Activation::relu, widths, batch, threads, StepPlan::split, {})));
                    CHECK(same_bits(
                        fused, train_odd_network(Activation::relu, widths, batch, threads, StepPlan::automatic, 1e30)));
                }
                CHECK(!same_bits(fused, train_odd_network(Activation::relu, widths, batch, 1, StepPlan::split, 1e-3)));
            }
        }
    });
}

TEST(every_activation_gives_the_same_bits_on_any_plan) {
    fixture::for_each_instruction_set([&] {
        for (std::size_t i = 0; i < math::names<Activation>().size(); ++i) {
            const auto activation = static_cast<Activation>(i);
            const auto fused = train_odd_network(activation, {37, 21, 5}, 40, 1, StepPlan::fused, {});
            CHECK(same_bits(fused, train_odd_network(activation, {37, 21, 5}, 40, 3, StepPlan::split, {})));
            for (const float value : fused) CHECK(std::isfinite(value));
        }
    });
}

TEST(a_rows_output_does_not_depend_on_the_others) {
    fixture::for_each_instruction_set([&] {
        Configuration configuration;
        configuration.encoder_layers = std::vector<std::int64_t>{77, 9};
        const Program program = build_program(configuration, 123);
        CompileOptions options;
        options.n_threads = 3;
        const auto model = cpu::device().compile(program, options);
        model->write({initial_weights(program, 7), {}, {}});
        const std::int64_t n = 300;
        const std::vector<float> x = patterned(n * 123, 1.0);
        std::vector<float> whole(static_cast<std::size_t>(n * 123));
        model->run(0, program.ops.size(), {x.data(), n, 123, 123}, {whole.data(), n, 123, 123});
        std::vector<double> errors(static_cast<std::size_t>(n));
        model->row_errors({{x.data(), n, 123, 123}, {}, nullptr}, errors, {});
        for (const std::int64_t chunk : {1, 5, 14, 97}) {
            std::vector<float> parts(whole.size());
            std::vector<double> part_errors(errors.size());
            for (std::int64_t r = 0; r < n; r += chunk) {
                const std::int64_t rows = std::min(chunk, n - r);
                model->run(0, program.ops.size(), {x.data() + r * 123, rows, 123, 123},
                           {parts.data() + r * 123, rows, 123, 123});
                model->row_errors(
                    {{x.data() + r * 123, rows, 123, 123}, {}, nullptr},
                    std::span(part_errors).subspan(static_cast<std::size_t>(r), static_cast<std::size_t>(rows)), {});
            }
            CHECK(same_bits(whole, parts));
            CHECK(errors == part_errors);
        }
    });
}

TEST(the_callers_floating_point_mode_comes_back) {
#if defined(__x86_64__)
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80U | 0x6000U);  // round towards zero
    Matrix x = integers(4, 4, 1);
    Matrix y(4, 4, kNaN);
    cpu::device().kernels().dense_forward(x.view(), x.view(), nullptr, Activation::tanh, y.view(), {});
    CHECK((__builtin_ia32_stmxcsr() & 0x6000U) == 0x6000U);
    __builtin_ia32_ldmxcsr(before);
#endif
}

TEST(an_unknown_instruction_set_is_refused) { CHECK_THROWS(cpu::use_instruction_set("avx9000"), ErrorKind::value); }

TEST(a_stop_leaves_a_whole_step) {
    struct Always final : Stop {
        bool requested() override { return true; }
    };
    const Program program = build_program(Configuration{}, 300);
    constexpr std::int64_t kBatch = 64;  // 16 MFLOP a step: enough for four threads
    const std::vector<float> x = patterned(2 * kBatch * 300, 1.0);
    std::vector<std::int64_t> rows(2 * kBatch);
    std::iota(rows.begin(), rows.end(), std::int64_t{0});
    const std::vector<double> rates(2, 1e-2);
    const auto after_one_step = [&](int threads, StepPlan plan) {
        CompileOptions options;
        options.n_threads = threads;
        options.step_plan = plan;
        const auto model = cpu::device().compile(program, options);
        model->write({initial_weights(program, 7), {}, {}});
        StepRange range;
        range.batch_size = kBatch;
        range.rows = rows;
        range.learning_rates = rates;
        Always stop;
        const RowSource source{{x.data(), 2 * kBatch, 300, 300}, {}, nullptr};
        const Totals totals = model->train(source, range, UpdateRule{}, nullptr, stop);
        CHECK(totals.status == Status::stopped && totals.steps_done == 1);
        Tensors tensors;
        model->read(tensors);
        return tensors.params;
    };
    const auto whole = after_one_step(1, StepPlan::fused);
    for (int i = 0; i < 300; ++i) {  // a thread must fall behind the one that asks Stop
        CHECK(same_bits(whole, after_one_step(4, StepPlan::split)));
        CHECK(same_bits(whole, after_one_step(4, StepPlan::fused)));
    }
}
