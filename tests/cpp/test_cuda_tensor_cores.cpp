// SPDX-License-Identifier: Apache-2.0
// Products on tensor cores, on the emulator or on a GPU (ISTHMUS_CUDA_LIBRARY): precision "tf32" and "bfloat16", and
// float32 in three planes of bfloat16 (ISTHMUS_CUDA_FLOAT32=bf16x6). Exact on integers, which all of them hold; within
// what their rounding costs on other numbers; networks that follow float32's; the same bits wherever they are promised.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/evaluation.hpp"
#include "cuda/product_plan.hpp"
#include "cuda_products.hpp"
#include "math/names.hpp"

using namespace fixture;

namespace {

const int kLayerByLayer = setenv("ISTHMUS_CUDA_PLAN", "layers", 1);
const int kByTheWarp = setenv("ISTHMUS_CUDA_WGMMA", "off", 1);  // the others: test_cuda_wide_layers.cpp

// What a test body is run for: a precision, or float32 in planes.
struct Way {
    Precision precision;
    bool in_planes;

    CompileOptions options() const {
        CompileOptions options;
        options.precision = precision;
        return options;
    }
    // Of the Frobenius norm, against float64: as users are told.
    double tolerance() const {
        return precision == Precision::float32 ? 1e-5 : precision == Precision::tf32 ? 2e-3 : 2e-2;
    }
};

template <class F>
void for_each_way(F&& f) {
    for (const Precision precision : {Precision::tf32, Precision::bfloat16}) f(Way{precision, false});
    const Variable planes("ISTHMUS_CUDA_FLOAT32", "bf16x6");
    f(Way{Precision::float32, true});
}

// An operand of the format, of finite numbers.
double rounded(float x, const Way& way) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    if (way.precision == Precision::tf32) return std::bit_cast<float>((bits + 0x1000U) & 0xffffe000U);
    if (way.precision == Precision::bfloat16) {
        return std::bit_cast<float>((bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U);
    }
    return x;
}

// ||found - expected|| / ||scale||
struct Difference {
    void add(double found, double expected, double scale) {
        difference += (found - expected) * (found - expected);
        norm += scale * scale;
    }
    double relative() const { return std::sqrt(difference / norm); }
    double difference = 0.0;
    double norm = 0.0;
};

std::vector<float> gradient_of(const Device& device, const Program& program, const std::vector<float>& params,
                               const RowSource& source, const CompileOptions& options) {
    const auto model = device.compile(program, options);
    model->write({params, {}, {}});
    std::vector<float> flat(static_cast<std::size_t>(program.flat_size));
    model->gradient(source, flat);
    return flat;
}

}  // namespace

TEST(plans_name_the_arithmetic) {
    using cuda::Arithmetic;
    cuda::Limits limits;
    CHECK(cuda::arithmetic_of(Precision::float32, limits) == Arithmetic::simt);
    CHECK(cuda::arithmetic_of(Precision::tf32, limits) == Arithmetic::tf32);
    CHECK(cuda::arithmetic_of(Precision::bfloat16, limits) == Arithmetic::bfloat16);
    limits.float32 = Arithmetic::bf16x6;
    CHECK(cuda::arithmetic_of(Precision::float32, limits) == Arithmetic::bf16x6);
    CHECK(cuda::arithmetic_of(Precision::tf32, limits) == Arithmetic::tf32);
    CHECK(cuda::plane_count(Arithmetic::simt) == 0 && cuda::plane_count(Arithmetic::tf32) == 0);
    CHECK(cuda::plane_count(Arithmetic::bfloat16) == 1 && cuda::plane_count(Arithmetic::bf16x6) == 3);
    limits.multiprocessors = 132;
    const auto tile = [&](Arithmetic arithmetic, std::int64_t rows, std::int64_t cols) {
        const cuda::ProductPlan plan = cuda::product_plan(arithmetic, rows, cols, 4096, 4096, limits);
        CHECK(plan.arithmetic == arithmetic);
        return plan.tile;
    };
    using cuda::TileSize;
    CHECK(tile(Arithmetic::tf32, 4096, 4096) == TileSize::large);
    CHECK(tile(Arithmetic::bfloat16, 512, 4096) == TileSize::large);  // 128 of them for 132 multiprocessors
    CHECK(tile(Arithmetic::simt, 512, 4096) == TileSize::medium);
    CHECK(tile(Arithmetic::bfloat16, 256, 784) == TileSize::medium);  // 52, or 200 small ones
    CHECK(tile(Arithmetic::bf16x6, 256, 32) == TileSize::small && tile(Arithmetic::tf32, 1, 1) == TileSize::small);
    limits.tile = TileSize::large;
    CHECK(tile(Arithmetic::tf32, 1, 1) == TileSize::large);
}

TEST(a_gpu_without_tensor_cores_for_them_is_named) {
    cuda::Limits limits;
    limits.compute_capability = 75;
    cuda::check_precision(Precision::float32, limits, "cuda:1");
    for (const Precision precision : {Precision::tf32, Precision::bfloat16}) {
        CHECK_THROWS(cuda::check_precision(precision, limits, "cuda:1"), ErrorKind::runtime);
        try {
            cuda::check_precision(precision, limits, "cuda:1");
        } catch (const isthmus::Error& error) {
            const std::string text = error.what();
            CHECK(text.find(std::string(math::name(precision))) != std::string::npos);
            CHECK(text.find("cuda:1 has 7.5") != std::string::npos);
        }
    }
    limits.compute_capability = 80;
    cuda::check_precision(Precision::bfloat16, limits, "cuda:1");
}

TEST(an_unknown_arithmetic_is_named) {
    const Variable other("ISTHMUS_CUDA_FLOAT32", "abacus");
    Matrix x = integers(2, 2, 1);
    CHECK_THROWS(gpu().kernels().activation_forward(x.view(), Activation::relu, x.view(), {}), ErrorKind::value);
}

// ---- products -------------------------------------------------------------------------------------------------------

// Besides those of every kernel, more slices of k than are under way at a time.
constexpr ProductShape kLongSums[] = {{5, 300, 9}, {20, 24, 333}, {17, 264, 40}};

TEST(tensor_core_products_are_exact_on_integers) {
    for_each_way([](const Way& way) {
        for_each_tile([&] {
            for (const ProductShape& shape : kProductShapes) {
                CHECK(exact_on_integers(gpu().kernels(), shape, way.options()));
            }
            for (const ProductShape& shape : kLongSums) {
                CHECK(exact_on_integers(gpu().kernels(), shape, way.options()));
            }
        });
    });
}

TEST(products_round_their_operands_alone) {
    const std::int64_t n = 70, in = 165, out = 67;
    Matrix x = uniform_matrix(n, in, 1);
    Matrix w = uniform_matrix(out, in, 2);
    Matrix dz = uniform_matrix(n, out, 3);
    const std::vector<float> bias = uniform(out, 4);
    for_each_way([&](const Way& way) {
        Matrix y(n, out), dx(n, in), dw(out, in);
        std::vector<float> db(static_cast<std::size_t>(out));
        const Kernels& kernels = gpu().kernels();
        kernels.dense_forward(x.view(), w.view(), bias.data(), Activation::linear, y.view(), way.options());
        kernels.dense_backward_input(dz.view(), w.view(), dx.view(), way.options());
        kernels.dense_backward_weight(x.view(), dz.view(), dw.view(), db.data(), way.options());
        // Against float64: of the numbers as they are, and as they are rounded. The scale is that of what is summed.
        const auto errors = [&](Matrix& found, std::int64_t terms, auto&& a, auto&& b, auto&& first) {
            Difference of_all, of_sums;
            for (std::int64_t r = 0; r < found.rows; ++r) {
                for (std::int64_t c = 0; c < found.cols; ++c) {
                    double exact = first(c), from_rounded = exact, magnitude = std::abs(exact);
                    for (std::int64_t k = 0; k < terms; ++k) {
                        exact += static_cast<double>(a(r, k)) * b(c, k);
                        const double product = rounded(a(r, k), way) * rounded(b(c, k), way);
                        from_rounded += product;
                        magnitude += std::abs(product);
                    }
                    of_all.add(found.at(r, c), exact, exact);
                    of_sums.add(found.at(r, c), from_rounded, magnitude);
                }
            }
            CHECK(of_all.relative() < way.tolerance());
            CHECK(of_sums.relative() < 1e-6);
        };
        const auto none = [](std::int64_t) { return 0.0; };
        errors(
            y, in, [&](auto r, auto k) { return x.at(r, k); }, [&](auto c, auto k) { return w.at(c, k); },
            [&](auto c) { return static_cast<double>(bias[static_cast<std::size_t>(c)]); });
        errors(dx, out, [&](auto r, auto k) { return dz.at(r, k); }, [&](auto c, auto k) { return w.at(k, c); }, none);
        errors(dw, n, [&](auto r, auto k) { return dz.at(k, r); }, [&](auto c, auto k) { return x.at(k, c); }, none);
        // A bias gradient sums dz as the products have it: in planes, or as it is.
        Difference of_bias;
        for (std::int64_t c = 0; c < out; ++c) {
            double sum = 0.0, magnitude = 0.0;
            for (std::int64_t r = 0; r < n; ++r) {
                const double value = way.precision == Precision::tf32 ? dz.at(r, c) : rounded(dz.at(r, c), way);
                sum += value;
                magnitude += std::abs(value);
            }
            of_bias.add(db[static_cast<std::size_t>(c)], sum, magnitude);
        }
        CHECK(of_bias.relative() < 1e-6);
    });
}

TEST(elementwise_kernels_do_not_round) {
    Matrix z = uniform_matrix(9, 33, 1);
    for_each_way([&](const Way& way) {
        Matrix expected(9, 33), found(9, 33);
        gpu().kernels().activation_forward(z.view(), Activation::gelu, expected.view(), {});
        gpu().kernels().activation_forward(z.view(), Activation::gelu, found.view(), way.options());
        CHECK(same_bits(values_of(found), values_of(expected)));
    });
}

// Sums of numbers of one sign are the worst case of units that cut what they add.
TEST(three_planes_are_as_accurate_as_float32_however_long_the_sum) {
    const std::int64_t m = 16, n = 8;
    for (const double low : {-1.0, 0.0}) {
        for (const std::int64_t k : {64, 256, 1024, 4096, 16384}) {
            Matrix x(m, k), w(n, k);
            const std::vector<float> values = uniform((m + n) * k, static_cast<std::uint64_t>(k), low, 1.0);
            for (std::int64_t i = 0; i < m * k; ++i) x.at(i / k, i % k) = values[static_cast<std::size_t>(i)];
            for (std::int64_t i = 0; i < n * k; ++i) w.at(i / k, i % k) = values[static_cast<std::size_t>(m * k + i)];
            const auto error = [&](const char* arithmetic) {
                const Variable chosen("ISTHMUS_CUDA_FLOAT32", arithmetic);
                Matrix y(m, n);
                gpu().kernels().dense_forward(x.view(), w.view(), nullptr, Activation::linear, y.view(), {});
                Difference found;
                for (std::int64_t r = 0; r < m; ++r) {
                    for (std::int64_t c = 0; c < n; ++c) {
                        double sum = 0.0;
                        for (std::int64_t i = 0; i < k; ++i) sum += static_cast<double>(x.at(r, i)) * w.at(c, i);
                        found.add(y.at(r, c), sum, sum);
                    }
                }
                return found.relative();
            };
            const double simt = error("simt"), planes = error("bf16x6");
            std::printf("     numbers in [%2.0f, 1), k %5d: float32 %.2e, three planes %.2e\n", low,
                        static_cast<int>(k), simt, planes);
            CHECK(planes < 1e-5);
            if (emulated()) CHECK(planes < simt);  // a GPU's own words are printed
        }
    }
}

// ---- networks -------------------------------------------------------------------------------------------------------

// Away from kinks, where a derivative jumps: weights are small beside biases of either sign, and targets far off.
TEST(gradients_of_every_network_are_within_the_precision) {
    const std::int64_t n = 60;
    const Rows inputs{uniform(n * 21, 1, 0.0, 1.0), 21};
    const Rows near{uniform(n * 21, 5, 0.0, 1.0), 21}, far{uniform(n * 21, 5, 8.0, 9.0), 21};
    const std::vector<float> row_weights = uniform(n, 6, 0.5, 2.0);
    const Device& exact = *devices().front();
    for (std::size_t a = 0; a < math::names<Activation>().size(); ++a) {
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            const auto loss = static_cast<Loss>(l);
            const RowSource source{inputs.view(), (loss == Loss::bce ? near : far).view(), row_weights.data()};
            // Widths that are multiples of 8, whose weights are planes as they lie, and others.
            const Program program = build_program(network({48, 21}, static_cast<Activation>(a), loss), 21);
            std::vector<float> params = initial_weights(program, 7);
            for (float& value : params) value *= 0.3F;
            for (const Parameter& parameter : program.parameters) {
                if (parameter.cols != 1) continue;
                std::vector<float> bias = uniform(parameter.rows, 6);
                for (float& value : bias) value += std::copysign(1.0F, value);
                std::copy(bias.begin(), bias.end(), params.begin() + parameter.offset);
            }
            const std::vector<float> expected = gradient_of(exact, program, params, source, {});
            for_each_way([&](const Way& way) {
                const auto found = gradient_of(gpu(), program, params, source, way.options());
                const double error = relative_error(found, expected);
                CHECK(error < way.tolerance());
                CHECK(way.in_planes || error > 1e-6);  // something was rounded
                if (error >= way.tolerance()) std::printf("     activation %zu, loss %zu: %g\n", a, l, error);
            });
        }
    }
}

TEST(training_follows_float32) {
    const Rows data = make_rows(64, 24);
    const Program program = build_program(network({16, 5}, Activation::tanh, Loss::mse), 24);
    UpdateRule rule;
    rule.clip_norm = 0.5;
    const Range steps(row_numbers(50 * 16 - 3, 64), 16);
    const Result expected = train(cpu::device(), program, data.source(), steps.range, rule);
    for_each_way([&](const Way& way) {
        const Result found = train(gpu(), program, data.source(), steps.range, rule, way.options());
        CHECK(found.totals.status == Status::complete && found.totals.steps_done == 50);
        CHECK(std::abs(found.totals.loss_sum / expected.totals.loss_sum - 1.0) < way.tolerance());
        const double error = relative_error(found.tensors.params, expected.tensors.params);
        CHECK(error < way.tolerance());
        CHECK(way.in_planes || error > 1e-7);  // it is another arithmetic
    });
}

TEST(every_tile_and_order_gives_the_same_bits) {
    const Rows data = make_rows(70, 150);
    const Program program = build_program(network({72, 33}, Activation::gelu, Loss::mse), 150);
    const Range steps(row_numbers(2 * 48, 70), 48);
    for_each_way([&](const Way& way) {
        const auto trained = [&] { return train(gpu(), program, data.source(), steps.range, {}, way.options()); };
        const Result first = trained();
        const auto the_same = [&] {
            const Result found = trained();
            CHECK(same_tensors(found.tensors, first.tensors) && found.totals.loss_sum == first.totals.loss_sum);
        };
        for_each_tile(the_same);
        if (!emulated()) return;
        for (const char* order : {"reverse", "1", "2"}) {
            const Variable chosen("ISTHMUS_EMULATOR_ORDER", order);
            const Variable streams("ISTHMUS_EMULATOR_STREAMS", order[0] == 'r' ? "late" : order);
            the_same();
        }
    });
}

TEST(a_rows_output_does_not_depend_on_the_others) {
    const std::int64_t n = 100;
    const Rows data = make_rows(n, 37);
    const Program program = build_program(network({24, 5}, Activation::silu, Loss::mse), 37);
    for_each_way([&](const Way& way) {
        const auto model = gpu().compile(program, way.options());
        model->write({initial_weights(program, 7), {}, {}});
        std::vector<float> whole(data.values.size());
        std::vector<double> errors(static_cast<std::size_t>(n));
        CHECK(model->run(0, program.ops.size(), data.view(), {whole.data(), n, 37, 37}));
        model->row_errors(data.source(), errors, {});
        RowSource held = data.source();
        held.resident = model->hold(held);
        for (const std::int64_t chunk : {1, 33, 64}) {
            for (std::int64_t r = 0; r < n; r += chunk) {
                const std::int64_t rows = std::min(chunk, n - r);
                std::vector<float> out(static_cast<std::size_t>(rows * 37));
                CHECK(
                    model->run(0, program.ops.size(), {data.view().row(r), rows, 37, 37}, {out.data(), rows, 37, 37}));
                CHECK(std::equal(out.begin(), out.end(), whole.begin() + r * 37));
                std::vector<double> found(static_cast<std::size_t>(rows));
                model->row_errors(slice(held, r, rows), found, {});
                CHECK(std::equal(found.begin(), found.end(), errors.begin() + r));
            }
        }
        // Any range of ops: the code, and on from it.
        std::vector<float> code(static_cast<std::size_t>(n * 5)), out(data.values.size());
        CHECK(model->run(0, program.code_op + 1, data.view(), {code.data(), n, 5, 5}));
        CHECK(model->run(program.code_op + 1, program.ops.size(), {code.data(), n, 5, 5}, {out.data(), n, 37, 37}));
        CHECK(same_bits(out, whole));
    });
}

TEST(weights_that_are_kept_and_brought_back_are_those_that_products_read) {
    const Rows data = make_rows(40, 13);
    const Program program = build_program(network({16, 3}, Activation::tanh, Loss::mse), 13);
    const Range steps(row_numbers(40, 40), 8, 0.05);
    Never never;
    for_each_way([&](const Way& way) {
        const auto model = gpu().compile(program, way.options());
        model->write({initial_weights(program, 7), {}, {}});
        const auto output = [&](const Model& of) {
            std::vector<float> out(data.values.size());
            CHECK(of.run(0, program.ops.size(), data.view(), {out.data(), 40, 13, 13}));
            return out;
        };
        const std::vector<float> before = output(*model);
        model->keep();
        model->train(data.source(), steps.range, {}, nullptr, never);
        const std::vector<float> after = output(*model);
        CHECK(!same_bits(before, after));
        Tensors tensors;
        model->read(tensors);
        const auto other = gpu().compile(program, way.options());
        other->write(tensors);
        CHECK(same_bits(output(*other), after));
        model->rollback();
        CHECK(same_bits(output(*model), before));
    });
}

TEST(the_first_step_that_diverges_is_named_in_every_precision) {
    const Rows rows = make_rows(60, 5);
    std::vector<std::int64_t> order(60);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    const Range all(order, 1);
    // ReLU, which makes 0 of what is negative, must not hide a NaN.
    for (const Activation activation : {Activation::linear, Activation::relu}) {
        const Program program = build_program(network({3}, activation, Loss::mse), 5);
        for_each_way([&](const Way& way) {
            for (const float value : {1e38F, kNaN}) {
                Rows spoilt = rows;
                for (std::size_t i = 0; i < 5; ++i) spoilt.values[40 * 5 + i] = value;
                const Result found = train(gpu(), program, spoilt.source(), all.range, {}, way.options());
                CHECK(found.totals.status == Status::diverged && found.totals.steps_done == 40);
            }
        });
    }
}

TEST(gradients_of_batches_larger_than_a_piece) {
    if (!emulated()) return;  // a GPU takes them whole
    const std::int64_t n = 7000;
    const Rows data = make_rows(n, 5);
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), 5);
    const std::vector<float> params = initial_weights(program, 7);
    const std::vector<float> expected = gradient_of(cpu::device(), program, params, data.source(), {});
    for_each_way([&](const Way& way) {
        const auto found = gradient_of(gpu(), program, params, data.source(), way.options());
        CHECK(relative_error(found, expected) < way.tolerance());
    });
}
