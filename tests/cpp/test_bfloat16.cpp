// SPDX-License-Identifier: Apache-2.0
// precision = bfloat16 on every family of instructions that this machine has: products against float64 on rounded
// operands, numbers that rounding leaves alone against float32, gradients against the reference within what rounding
// costs, and the same bits for any number of threads, plan and division of the rows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around one and two tiles in every dimension: 14, 16, 28 and 32 rows, panels of 32, steps of 32 in k, tiles of 64.
const std::vector<std::int64_t> kSizes = {1, 2, 7, 14, 15, 16, 17, 28, 29, 31, 32, 33, 63, 64, 65, 123, 130};

CompileOptions in_bfloat16(int threads = 0, StepPlan plan = StepPlan::automatic) {
    return {Precision::bfloat16, threads, plan};
}

template <class F>
void for_each_family(F&& f) {
    const std::vector<std::string> families = cpu::bfloat16_families();
    if (families.empty()) {
        std::printf("skipped: this machine has no instructions for bfloat16, or another instruction set is in use\n");
        return;
    }
    const std::string before = cpu::bfloat16_family();
    for (const std::string& family : families) {
        cpu::use_bfloat16_family(family);
        f();
    }
    cpu::use_bfloat16_family(before);
}

// To nearest, ties to even, by the bits; of finite numbers.
double to_bfloat16(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    return std::bit_cast<float>((bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U);
}

// Rows further apart than they are wide, with NaN between them: that is neither data nor written.
struct Matrix {
    std::vector<float> values;
    std::int64_t rows, cols;

    Matrix(std::int64_t rows, std::int64_t cols)
        : values(static_cast<std::size_t>(rows * (cols + 3)), kNaN), rows(rows), cols(cols) {}
    Matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) : Matrix(rows, cols) {
        const std::vector<float> random = uniform(rows * cols, seed);
        for (std::int64_t i = 0; i < rows * cols; ++i) at(i / cols, i % cols) = random[static_cast<std::size_t>(i)];
    }
    float& at(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * (cols + 3) + c)]; }
    float at(std::int64_t r, std::int64_t c) const { return values[static_cast<std::size_t>(r * (cols + 3) + c)]; }
    MutableMatrixView view() { return {values.data(), rows, cols, cols + 3}; }
    bool gap_untouched() const {
        bool untouched = true;
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = cols; c < cols + 3; ++c) untouched &= std::isnan(at(r, c));
        }
        return untouched;
    }
};

// Frobenius norm of the difference from expected(r, c), over that of what the sums are made of: magnitude(r, c). A sum
// that cancels has no relative error of its own.
template <class Expected, class Magnitude>
double error(const Matrix& found, Expected&& expected, Magnitude&& magnitude) {
    double difference = 0.0;
    double norm = 0.0;
    for (std::int64_t r = 0; r < found.rows; ++r) {
        for (std::int64_t c = 0; c < found.cols; ++c) {
            difference += std::pow(static_cast<double>(found.at(r, c)) - expected(r, c), 2);
            norm += std::pow(magnitude(r, c), 2);
        }
    }
    return std::sqrt(difference / norm);
}

// sum over k of a(k) * b(k), both rounded, and of its magnitude.
template <class A, class B>
double dot(std::int64_t depth, A&& a, B&& b) {
    double sum = 0.0;
    for (std::int64_t k = 0; k < depth; ++k) sum += to_bfloat16(a(k)) * to_bfloat16(b(k));
    return sum;
}
template <class A, class B>
double magnitude(std::int64_t depth, A&& a, B&& b) {
    double sum = 0.0;
    for (std::int64_t k = 0; k < depth; ++k) sum += std::pow(to_bfloat16(a(k)) * to_bfloat16(b(k)), 2);
    return std::sqrt(sum);
}

struct Results {
    Matrix y, dx, dw;
    std::vector<float> db;
};

struct Operands {
    Matrix x, w, dz;
    std::vector<float> b;

    Operands(std::int64_t n, std::int64_t in, std::int64_t out)
        : x(n, in, 1), w(out, in, 2), dz(n, out, 3), b(uniform(out, 4)) {}

    Results products(const CompileOptions& options) {
        Results r{{x.rows, w.rows}, {x.rows, w.cols}, {w.rows, w.cols}, std::vector<float>(b.size(), kNaN)};
        const Kernels& kernels = cpu::device().kernels();
        kernels.dense_forward(x.view(), w.view(), b.data(), Activation::linear, r.y.view(), options);
        kernels.dense_backward_input(dz.view(), w.view(), r.dx.view(), options);
        kernels.dense_backward_weight(x.view(), dz.view(), r.dw.view(), r.db.data(), options);
        return r;
    }
};

// Every size in each place, the other two walking through the list at other speeds.
template <class F>
void for_each_shape(F&& f) {
    const std::size_t n = kSizes.size();
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; j += 3) f(kSizes[i], kSizes[(i * 5 + j * 3) % n], kSizes[(i * 7 + j) % n]);
    }
    f(1100, 37, 19);  // more rows than a piece
    f(40, 1100, 300);
}

Program network(const std::vector<std::int64_t>& widths, Activation activation, Loss loss = Loss::mse) {
    Configuration configuration;
    configuration.encoder_layers = std::vector<std::int64_t>(widths.begin() + 1, widths.end());
    configuration.activation = activation;
    configuration.loss = loss;
    return build_program(configuration, widths.front());
}

std::unique_ptr<Model> initialized(const Program& program, const CompileOptions& options) {
    auto model = cpu::device().compile(program, options);
    model->write({initial_weights(program, 7), {}, {}});
    return model;
}

struct Never final : Stop {
    bool requested() override { return false; }
};

// Three steps: a padded lane that strays shows from the third.
Tensors trained(const Program& program, const CompileOptions& options, std::int64_t batch,
                std::optional<double> clip_norm = {}) {
    const auto model = initialized(program, options);
    const std::int64_t n = 3 * batch - batch / 2;
    const Rows data = make_rows(n, program.n_features);
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
    const Totals totals = model->train(data.source(), range, rule, nullptr, never);
    CHECK(totals.status == Status::complete && totals.steps_done == 3);
    Tensors tensors;
    model->read(tensors);
    return tensors;
}

std::vector<float> gradient_of(const Model& model, const Program& program, const RowSource& source) {
    std::vector<float> gradient(static_cast<std::size_t>(program.flat_size));
    model.gradient(source, gradient);
    return gradient;
}

}  // namespace

TEST(products_are_those_of_rounded_operands) {
    for_each_family([] {
        for_each_shape([](std::int64_t n, std::int64_t in, std::int64_t out) {
            Operands o(n, in, out);
            const Results found = o.products(in_bfloat16());
            // A sum of k terms in float32 errs by some sqrt(k) * 2^-24 of their magnitude.
            const auto y = [&](auto&& sum) {
                return [&](std::int64_t r, std::int64_t c) {
                    return sum(
                        in, [&](std::int64_t k) { return o.x.at(r, k); }, [&](std::int64_t k) { return o.w.at(c, k); });
                };
            };
            const auto dx = [&](auto&& sum) {
                return [&](std::int64_t r, std::int64_t c) {
                    return sum(
                        out, [&](std::int64_t k) { return o.dz.at(r, k); },
                        [&](std::int64_t k) { return o.w.at(k, c); });
                };
            };
            const auto dw = [&](auto&& sum) {
                return [&](std::int64_t r, std::int64_t c) {
                    return sum(
                        n, [&](std::int64_t k) { return o.dz.at(k, r); }, [&](std::int64_t k) { return o.x.at(k, c); });
                };
            };
            const auto plain = [](auto... arguments) { return dot(arguments...); };
            const auto absolute = [](auto... arguments) { return magnitude(arguments...); };
            const auto with_bias = [&](std::int64_t r, std::int64_t c) {
                return y(plain)(r, c) + o.b[static_cast<std::size_t>(c)];
            };
            CHECK(error(found.y, with_bias, [&](auto r, auto c) { return 1.0 + y(absolute)(r, c); }) < 1e-6);
            CHECK(error(found.dx, dx(plain), dx(absolute)) < 1e-6);
            CHECK(error(found.dw, dw(plain), dw(absolute)) < 1e-6);
            for (std::int64_t c = 0; c < out; ++c) {
                double sum = 0.0;  // the bias is no product: nothing is rounded
                for (std::int64_t r = 0; r < n; ++r) sum += o.dz.at(r, c);
                CHECK(std::abs(found.db[static_cast<std::size_t>(c)] - sum) < 1e-6 * static_cast<double>(n));
            }
            CHECK(found.y.gap_untouched() && found.dx.gap_untouched() && found.dw.gap_untouched());
        });
    });
}

TEST(families_agree) {
    std::vector<Results> found;
    Operands o(257, 300, 129);
    for_each_family([&] { found.push_back(o.products(in_bfloat16())); });
    for (const Results& other : found) {
        const auto gap_free = [](const Matrix& m) {
            std::vector<float> values;
            for (std::int64_t r = 0; r < m.rows; ++r) {
                for (std::int64_t c = 0; c < m.cols; ++c) values.push_back(m.at(r, c));
            }
            return values;
        };
        CHECK(relative_error(gap_free(other.y), gap_free(found.front().y)) < 1e-6);
        CHECK(relative_error(gap_free(other.dx), gap_free(found.front().dx)) < 1e-6);
        CHECK(relative_error(gap_free(other.dw), gap_free(found.front().dw)) < 1e-6);
    }
}

TEST(single_kernels_give_the_same_bits_on_any_number_of_threads) {
    for_each_family([] {
        Operands o(257, 300, 129);
        const Results one = o.products(in_bfloat16(1));
        for (const int threads : {2, 3, 5}) {
            const Results many = o.products(in_bfloat16(threads));
            for (std::int64_t r = 0; r < one.y.rows; ++r) {
                CHECK(std::memcmp(&one.y.values[static_cast<std::size_t>(r * 132)],
                                  &many.y.values[static_cast<std::size_t>(r * 132)], 129 * sizeof(float)) == 0);
                CHECK(std::memcmp(&one.dx.values[static_cast<std::size_t>(r * 303)],
                                  &many.dx.values[static_cast<std::size_t>(r * 303)], 300 * sizeof(float)) == 0);
            }
            for (std::int64_t r = 0; r < one.dw.rows; ++r) {
                CHECK(std::memcmp(&one.dw.values[static_cast<std::size_t>(r * 303)],
                                  &many.dw.values[static_cast<std::size_t>(r * 303)], 300 * sizeof(float)) == 0);
            }
            CHECK(same_bits(one.db, many.db));
        }
    });
}

// Ties, the largest numbers, denormals, NaNs whose payload rounding would cut off or carry into the sign.
TEST(rounding_is_to_nearest_and_keeps_nan_and_infinity) {
    for_each_family([] {
        const auto rounded = [](float value) {
            Matrix x(1, 1), w(1, 1), y(1, 1);
            x.at(0, 0) = value;
            w.at(0, 0) = 1.0F;
            cpu::device().kernels().dense_forward(x.view(), w.view(), nullptr, Activation::linear, y.view(),
                                                  in_bfloat16());
            return y.at(0, 0);
        };
        for (const float value :
             {1.0F, 1.00390625F, 1.01171875F, -1.00390625F, 1.0039063F, 3.3895314e38F, 0.1F, 1e-30F})
            CHECK(rounded(value) == static_cast<float>(to_bfloat16(value)));
        CHECK(rounded(std::numeric_limits<float>::max()) == kInfinity);
        CHECK(rounded(kInfinity) == kInfinity && rounded(-kInfinity) == -kInfinity);
        CHECK(rounded(1e-40F) == 0.0F);
        for (const std::uint32_t nan : {0x7fc00000U, 0x7f800001U, 0x7fffffffU, 0xffffffffU, 0xff800001U}) {
            CHECK(std::isnan(rounded(std::bit_cast<float>(nan))));
        }
    });
}

TEST(a_nan_stays_in_its_row) {
    for_each_family([] {
        Operands o(40, 70, 50);
        o.x.at(33, 69) = kNaN;
        const Results found = o.products(in_bfloat16());
        for (std::int64_t r = 0; r < 40; ++r) {
            for (std::int64_t c = 0; c < 50; ++c) CHECK(std::isnan(found.y.at(r, c)) == (r == 33));
        }
        for (std::int64_t c = 0; c < 50; ++c) CHECK(std::isnan(found.dw.at(c, 69)) && !std::isnan(found.dw.at(c, 68)));
    });
}

// Few weights of -1 and 1 among zeros, such data, and 64 features: every number on the way has eight binary digits at
// most, so nothing is rounded and both precisions have one right answer.
TEST(numbers_that_need_no_rounding_give_the_gradient_of_float32) {
    for_each_family([] {
        for (const std::vector<std::int64_t>& widths :
             {std::vector<std::int64_t>{64, 33, 7}, {64, 1}, {64, 20, 4}, {64, 100}}) {
            const Program program = network(widths, Activation::relu);
            std::vector<float> params(static_cast<std::size_t>(program.flat_size));
            for (const Parameter& parameter : program.parameters) {
                const std::vector<float> random = uniform(parameter.size(), 5);
                for (std::size_t i = 0; i < random.size(); ++i) {
                    params[static_cast<std::size_t>(parameter.offset) + i] =
                        std::abs(random[i]) < 0.06F ? std::copysign(1.0F, random[i]) : 0.0F;
                }
            }
            for (const std::int64_t n : {1, 7, 70, 1500}) {
                Rows data = make_rows(n, 64);
                for (float& value : data.values) value = std::abs(value) < 0.4F ? std::copysign(1.0F, value) : 0.0F;
                const auto gradient_in = [&](const CompileOptions& options) {
                    const auto model = cpu::device().compile(program, options);
                    model->write({params, {}, {}});
                    return gradient_of(*model, program, data.source());
                };
                const std::vector<float> expected = gradient_in({});
                CHECK(std::count(expected.begin(), expected.end(), 0.0F) < std::ssize(expected));
                CHECK(gradient_in(in_bfloat16(1)) == expected);
                CHECK(gradient_in(in_bfloat16(3)) == expected);
            }
        }
    });
}

TEST(gradients_are_the_references_within_rounding) {
    for_each_family([] {
        for (std::size_t i = 0; i < math::names<Activation>().size(); ++i) {
            for (const Loss loss : {Loss::mse, Loss::bce}) {
                const Program program = network({123, 77, 65, 9}, static_cast<Activation>(i), loss);
                Rows data = make_rows(70, 123);
                for (float& value : data.values) value = std::abs(value);
                std::vector<float> params = initial_weights(program, 7);
                for (const Parameter& parameter : program.parameters) {  // their biases are zero
                    if (parameter.cols != 1) continue;
                    const std::vector<float> bias = uniform(parameter.rows, 6, 0.25, 1.0);
                    std::copy(bias.begin(), bias.end(), params.begin() + parameter.offset);
                }
                const auto gradient_on = [&](const Device& device, const CompileOptions& options) {
                    const auto model = device.compile(program, options);
                    model->write({params, {}, {}});
                    return gradient_of(*model, program, data.source());
                };
                const std::vector<float> expected = gradient_on(*devices()[0], {});
                const double difference = relative_error(gradient_on(cpu::device(), in_bfloat16()), expected);
                CHECK(difference < 2e-2);
                CHECK(difference > 1e-5);  // else nothing was rounded
            }
        }
    });
}

TEST(plans_and_threads_give_the_same_bits) {
    for_each_family([] {
        for (const std::vector<std::int64_t>& widths :
             {std::vector<std::int64_t>{123, 77, 9}, {33, 1}, {65, 129, 130}, {300, 200}}) {
            const Program program = network(widths, Activation::silu);
            for (const std::int64_t batch : {1, 7, 64, 1500}) {
                const Tensors one = trained(program, in_bfloat16(1, StepPlan::fused), batch);
                for (const float value : one.params) CHECK(std::isfinite(value));
                for (const int threads : {1, 2, 3, 5}) {
                    CHECK(same_tensors(trained(program, in_bfloat16(threads, StepPlan::fused), batch), one));
                    CHECK(same_tensors(trained(program, in_bfloat16(threads, StepPlan::split), batch), one));
                    CHECK(same_tensors(trained(program, in_bfloat16(threads), batch, 1e30), one));
                }
            }
        }
    });
}

TEST(a_rows_output_does_not_depend_on_the_others) {
    for_each_family([] {
        const std::int64_t n = 300;
        for (const std::vector<std::int64_t>& widths :
             {std::vector<std::int64_t>{123, 77, 9}, {128, 33}, {600, 700, 5}}) {
            const std::int64_t d = widths.front();
            const Program program = network(widths, Activation::tanh);
            const Rows data = make_rows(n, d);
            const auto run = [&](int threads, std::int64_t chunk) {
                const auto model = initialized(program, in_bfloat16(threads));
                std::vector<float> y(data.values.size());
                std::vector<double> errors(static_cast<std::size_t>(n));
                for (std::int64_t r = 0; r < n; r += chunk) {
                    const std::int64_t rows = std::min(chunk, n - r);
                    const MatrixView part{data.values.data() + r * d, rows, d, d};
                    CHECK(model->run(0, program.ops.size(), part, {y.data() + r * d, rows, d, d}));
                    model->row_errors(
                        {part, {}, nullptr},
                        std::span(errors).subspan(static_cast<std::size_t>(r), static_cast<std::size_t>(rows)), {});
                }
                return std::pair(y, errors);
            };
            const auto whole = run(1, n);
            for (const int threads : {1, 2, 3, 5}) {
                for (const std::int64_t chunk : {1, 5, 33, 97, 300}) {
                    const auto parts = run(threads, chunk);
                    CHECK(same_bits(parts.first, whole.first));
                    CHECK(parts.second == whole.second);
                }
            }
        }
    });
}

TEST(code_and_decoder_give_what_the_whole_gives) {
    for_each_family([] {
        const Program program = network({123, 77, 9}, Activation::elu);
        const Rows data = make_rows(50, 123);
        const auto model = initialized(program, in_bfloat16(2));
        std::vector<float> whole(50 * 123), parts(50 * 123), code(50 * 9);
        CHECK(model->run(0, 4, data.view(), {whole.data(), 50, 123, 123}));
        CHECK(model->run(0, 2, data.view(), {code.data(), 50, 9, 9}));
        CHECK(model->run(2, 4, {code.data(), 50, 9, 9}, {parts.data(), 50, 123, 123}));
        CHECK(same_bits(whole, parts));
    });
}

TEST(a_rollback_brings_the_rounded_weights_back) {
    for_each_family([] {
        const Program program = network({65, 40}, Activation::relu);
        const Rows data = make_rows(64, 65);
        const auto model = initialized(program, in_bfloat16());
        const std::vector<float> before = gradient_of(*model, program, data.source());
        model->keep();
        std::vector<std::int64_t> rows(64);
        std::iota(rows.begin(), rows.end(), std::int64_t{0});
        const std::vector<double> rates(1, 1e-1);
        StepRange range;
        range.batch_size = 64;
        range.rows = rows;
        range.learning_rates = rates;
        Never never;
        model->train(data.source(), range, UpdateRule{}, nullptr, never);
        CHECK(!same_bits(gradient_of(*model, program, data.source()), before));
        model->rollback();
        CHECK(same_bits(gradient_of(*model, program, data.source()), before));
    });
}

TEST(what_the_cpu_cannot_do_is_refused) {
    const Program program = network({10, 4}, Activation::relu);
    CHECK_THROWS(cpu::device().compile(program, {Precision::tf32}), ErrorKind::runtime);
    CHECK_THROWS(cpu::use_bfloat16_family("abacus"), ErrorKind::value);
    const std::string before = cpu::instruction_set();
    for (const std::string& name : cpu::instruction_sets()) {
        if (name == "avx512") continue;
        cpu::use_instruction_set(name);
        CHECK(cpu::bfloat16_families().empty() && cpu::bfloat16_family() == "none");
        CHECK_THROWS(cpu::device().compile(program, in_bfloat16()), ErrorKind::runtime);
        Matrix x(2, 3, 1), y(2, 2);
        Matrix w(2, 3, 2);
        CHECK_THROWS(cpu::device().kernels().dense_forward(x.view(), w.view(), nullptr, Activation::relu, y.view(),
                                                           in_bfloat16()),
                     ErrorKind::runtime);
    }
    cpu::use_instruction_set(before);
}
