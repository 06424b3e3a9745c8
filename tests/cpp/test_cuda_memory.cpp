// SPDX-License-Identifier: Apache-2.0
// Rows that live in the device's memory, on the emulator or on a GPU: conversions of every type of element, searches,
// and the same bits as with the same rows on the host, whatever is asked of a model. Between the rows, and around them,
// lie NaNs.
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/autoencoder.hpp"
#include "core/held_back.hpp"
#include "cuda_fixture.hpp"

using namespace fixture;

namespace {

const int kRoom = setenv("ISTHMUS_EMULATOR_MEMORY", "268435456", 1);

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const DeviceMemory& memory() { return *gpu().memory(); }

template <class T>
std::shared_ptr<void> on_device(const std::vector<T>& values) {
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(T));
    std::shared_ptr<void> there = memory().allocate(bytes);
    memory().copy(there.get(), values.data(), bytes);
    return there;
}

template <class T>
std::vector<T> on_host(const void* there, std::int64_t n) {
    std::vector<T> values(static_cast<std::size_t>(n));
    memory().copy(values.data(), there, n * std::int64_t{sizeof(T)});
    return values;
}

// A matrix as MatrixView wants it: `gap` columns of NaN after the zeros that follow each row, and before the first.
struct DeviceRows {
    std::int64_t rows, cols, stride;
    std::shared_ptr<void> owner;

    DeviceRows(MatrixView from, std::int64_t gap)
        : rows(from.rows), cols(from.cols), stride(device_stride(from.cols) + gap) {
        std::vector<float> values(static_cast<std::size_t>((rows + 1) * stride), kNan);
        for (std::int64_t r = 0; r < rows; ++r) {
            float* const to = values.data() + gap + r * stride;
            std::copy_n(from.row(r), cols, to);
            std::fill(to + cols, to + device_stride(cols), 0.0F);
        }
        owner = on_device(values);
        first = gap;
    }
    MatrixView view() const { return {data(), rows, cols, stride, Memory::device}; }
    MutableMatrixView out() const { return {data(), rows, cols, stride, Memory::device}; }
    std::vector<float> values() const {
        const std::vector<float> all = on_host<float>(owner.get(), (rows + 1) * stride);
        std::vector<float> result;
        for (std::int64_t r = 0; r < rows; ++r) {
            const auto begin = all.begin() + first + r * stride;
            result.insert(result.end(), begin, begin + cols);
        }
        return result;
    }

private:
    float* data() const { return static_cast<float*>(owner.get()) + first; }
    std::int64_t first = 0;
};

Table table(const DeviceRows& rows) { return {rows.view(), &memory()}; }
Samples samples(const DeviceRows& rows) { return {table(rows), std::nullopt, nullptr}; }

template <class T>
struct Converted {
    std::optional<Position> bad;
    std::vector<float> values;  // with what lies up to the stride
};

// `elements` starts at element `offset` of values.
template <class T>
Converted<T> convert(const std::vector<T>& values, std::int64_t offset, Elements elements) {
    const std::shared_ptr<void> from = on_device(values);
    elements.data = static_cast<const T*>(from.get()) + offset;
    const std::int64_t stride = device_stride(elements.cols);
    const std::shared_ptr<void> to = memory().allocate(elements.rows * stride * 4);
    Converted<T> result;
    result.bad = memory().convert(
        elements, {static_cast<float*>(to.get()), elements.rows, elements.cols, stride, Memory::device});
    result.values = on_host<float>(to.get(), elements.rows * stride);
    return result;
}

template <class T>
bool converts(ElementType type) {
    std::vector<T> values;
    for (int i = 0; i < 60; ++i) values.push_back(static_cast<T>(type == ElementType::boolean ? i % 2 : 1000003 * i));
    values[7] = std::numeric_limits<T>::max();
    values[8] = std::numeric_limits<T>::lowest();
    if (type == ElementType::boolean) values[7] = values[8] = 1;
    if (type == ElementType::float64) values[7] = values[8] = static_cast<T>(0.1);  // which float32 rounds
    // Rows and columns; transposed; every other, backwards, one element into the array.
    const Elements layouts[] = {
        {nullptr, type, 12, 5, 5, 1}, {nullptr, type, 5, 12, 1, 5}, {nullptr, type, 9, 2, -6, 3}};
    bool right = true;
    for (const Elements& layout : layouts) {
        const std::int64_t offset = layout.row_stride < 0 ? 49 : 0;
        const auto found = convert(values, offset, layout);
        right &= !found.bad;
        const std::int64_t stride = device_stride(layout.cols);
        for (std::int64_t r = 0; r < layout.rows; ++r) {
            for (std::int64_t j = 0; j < stride; ++j) {
                const std::int64_t at = offset + r * layout.row_stride + j * layout.col_stride;
                const float expected =
                    j < layout.cols ? static_cast<float>(values[static_cast<std::size_t>(at)]) : 0.0F;
                right &= found.values[static_cast<std::size_t>(r * stride + j)] == expected;
            }
        }
    }
    return right;
}

// By the definition of IEEE 754.
float half_value(unsigned bits) {
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    const double fraction = bits & 0x3ff;
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == 0x1f) return fraction == 0.0 ? static_cast<float>(sign) * INFINITY : kNan;
    return static_cast<float>(
        sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1.0 + fraction / 1024.0, exponent - 15)));
}

bool same_or_nan(float a, float b) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

}  // namespace

TEST(every_type_of_element_is_converted) {
    CHECK(converts<std::uint8_t>(ElementType::boolean) && converts<std::uint8_t>(ElementType::uint8));
    CHECK(converts<std::int8_t>(ElementType::int8) && converts<std::int16_t>(ElementType::int16));
    CHECK(converts<std::int32_t>(ElementType::int32) && converts<std::int64_t>(ElementType::int64));
    CHECK(converts<std::uint16_t>(ElementType::uint16) && converts<std::uint32_t>(ElementType::uint32));
    CHECK(converts<std::uint64_t>(ElementType::uint64) && converts<float>(ElementType::float32));
    CHECK(converts<double>(ElementType::float64));
}

TEST(all_halves_are_converted) {
    std::vector<std::uint16_t> bits(1 << 16);
    std::iota(bits.begin(), bits.end(), std::uint16_t{0});
    const auto half = convert(bits, 0, {nullptr, ElementType::float16, 256, 256, 256, 1});
    const auto brain = convert(bits, 0, {nullptr, ElementType::bfloat16, 256, 256, 256, 1});
    CHECK(half.bad && half.bad->row == 0x7c && half.bad->col == 0);  // infinity is 0x7c00
    CHECK(brain.bad && brain.bad->row == 0x7f && brain.bad->col == 0x80);
    bool right = true;
    for (std::uint32_t i = 0; i < bits.size(); ++i) {
        right &= same_or_nan(half.values[i], half_value(i));
        right &= same_or_nan(brain.values[i], std::bit_cast<float>(i << 16));
    }
    CHECK(right);
}

TEST(the_first_value_that_is_not_finite_is_found) {
    for (const double bad : {1e39, -1e39, static_cast<double>(INFINITY), std::nan("")}) {
        std::vector<double> values(300 * 7, 1.0);
        values[280 * 7 + 1] = values[133 * 7 + 6] = values[134 * 7] = bad;
        const auto found = convert(values, 0, {nullptr, ElementType::float64, 300, 7, 7, 1});
        CHECK(found.bad && found.bad->row == 133 && found.bad->col == 6);
    }
    std::vector<double> most(7, std::numeric_limits<float>::max());
    CHECK(!convert(most, 0, {nullptr, ElementType::float64, 1, 7, 7, 1}).bad);
}

TEST(values_outside_are_found_wherever_they_are) {
    Rows data = make_rows(500, 37);
    for (float& value : data.values) value = std::abs(value);
    CHECK(!memory().find_outside(DeviceRows(data.view(), 4).view(), 0.0F, 1.0F));
    for (const std::int64_t at : {0, 36, 37, 4000, 500 * 37 - 1}) {
        for (const float bad : {-0.1F, 1.1F, kNan}) {
            Rows changed = data;
            changed.values[static_cast<std::size_t>(at)] = changed.values.back() = bad;
            const auto found = memory().find_outside(DeviceRows(changed.view(), 4).view(), 0.0F, 1.0F);
            CHECK(found && found->row == at / 37 && found->col == at % 37);
        }
    }
}

TEST(rows_are_gathered_and_widened) {
    const Rows data = make_rows(40, 6);
    const DeviceRows there(data.view(), 8);
    const std::vector<std::int64_t> numbers{39, 0, 7, 7};
    const std::shared_ptr<void> to = memory().allocate(4 * 8 * 4);
    memory().gather(there.view(), numbers, {static_cast<float*>(to.get()), 4, 6, 8, Memory::device});
    const std::vector<float> found = on_host<float>(to.get(), 4 * 8);
    const std::shared_ptr<void> wide = memory().allocate(40 * 6 * 8);
    const Elements elements{there.view().data, ElementType::float32, 40, 6, there.stride, 1};
    memory().widen(elements, static_cast<double*>(wide.get()));
    const std::vector<double> widened = on_host<double>(wide.get(), 40 * 6);
    bool right = std::equal(widened.begin(), widened.end(), data.values.begin());
    for (std::size_t i = 0; i < 4; ++i) {
        for (std::int64_t j = 0; j < 8; ++j) {
            const float expected = j < 6 ? data.view().row(numbers[i])[j] : 0.0F;
            right &= found[i * 8 + static_cast<std::size_t>(j)] == expected;
        }
    }
    CHECK(right);
}

TEST(inference_on_device_rows_has_the_bits_of_the_hosts) {
    // 4 columns of 100,000 rows are two blocks; widths that are multiples of four, and none.
    struct Case {
        std::int64_t n, cols;
        std::vector<std::int64_t> layers;
    };
    for (const Case& c : {Case{9, 37, {21, 5}}, Case{100, 64, {16, 8}}, Case{1, 8, {3}}, Case{66000, 4, {2}}}) {
        const Program program = build_program(network(c.layers, Activation::silu, Loss::mse), c.cols);
        const auto model = gpu().compile(program, {});
        model->write({initial_weights(program, 7), {}, {}});
        const Rows data = make_rows(c.n, c.cols);
        std::vector<float> expected(data.values.size()), elements(data.values.size());
        const std::int64_t code = program.width(program.code_op + 1);
        std::vector<float> codes(static_cast<std::size_t>(c.n * code));
        std::vector<double> errors(static_cast<std::size_t>(c.n));
        CHECK(model->run(0, program.ops.size(), data.view(), {expected.data(), c.n, c.cols, c.cols}));
        CHECK(model->run(0, program.code_op + 1, data.view(), {codes.data(), c.n, code, code}));
        model->row_errors(data.source(), errors, MutableMatrixView{elements.data(), c.n, c.cols, c.cols});
        for (const std::int64_t gap : {0, 4, 12}) {
            const DeviceRows x(data.view(), gap);
            const DeviceRows y(data.view(), gap);
            const DeviceRows z({codes.data(), c.n, code, code}, gap);
            CHECK(model->run(0, program.ops.size(), x.view(), y.out()) && same_bits(y.values(), expected));
            CHECK(model->run(0, program.code_op + 1, x.view(), z.out()) && same_bits(z.values(), codes));
            // Codes without gaps, as they are handed out.
            const std::shared_ptr<void> dense = memory().allocate(c.n * code * 4);
            CHECK(model->run(0, program.code_op + 1, x.view(),
                             {static_cast<float*>(dense.get()), c.n, code, code, Memory::device}));
            CHECK(same_bits(on_host<float>(dense.get(), c.n * code), codes));
            // To the host, too.
            std::vector<float> out(expected.size());
            CHECK(model->run(0, program.ops.size(), x.view(), {out.data(), c.n, c.cols, c.cols}));
            CHECK(same_bits(out, expected));

            const RowSource source{x.view(), {}, nullptr};
            const std::shared_ptr<void> there = memory().allocate(c.n * 8);
            model->row_errors(source, {static_cast<double*>(there.get()), static_cast<std::size_t>(c.n)}, y.out(),
                              Memory::device);
            CHECK(on_host<double>(there.get(), c.n) == errors && same_bits(y.values(), elements));
            std::vector<double> here(errors.size());
            std::vector<float> found(elements.size());
            model->row_errors(source, here, MutableMatrixView{found.data(), c.n, c.cols, c.cols});
            CHECK(here == errors && same_bits(found, elements));
        }
        Rows bad = data;
        bad.values.back() = kNan;
        CHECK(!model->run(0, program.ops.size(), DeviceRows(bad.view(), 4).view(), DeviceRows(data.view(), 0).out()));
    }
}

TEST(training_on_device_rows_has_the_bits_of_the_hosts) {
    for (const char* const plan : {"layers", "one_block"}) {
        const Variable chosen("ISTHMUS_CUDA_PLAN", plan);
        for (const std::int64_t cols : {8, 10}) {
            const Rows data = make_rows(50, cols);
            const Rows other = make_rows(50, cols, 2);
            const std::vector<float> weights = uniform(50, 3, 0.1, 1.0);
            const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), cols);
            Range steps(row_numbers(3 * 16, 50), 16, 1e-2);
            steps.range.noise = {NoiseKind::gaussian, 0.1F, 5, 1};
            const DeviceRows x(data.view(), 4), t(other.view(), 4), apart(other.view(), 16);
            const auto same = [&](const RowSource& host, const RowSource& there) {
                const Result expected = train(gpu(), program, host, steps.range);
                const Result found = train(gpu(), program, there, steps.range);
                return same_tensors(found.tensors, expected.tensors) &&
                       found.totals.loss_sum == expected.totals.loss_sum;
            };
            CHECK(same(data.source(), {x.view(), {}, nullptr}));
            CHECK(same({data.view(), {}, weights.data()}, {x.view(), {}, weights.data()}));
            const RowSource pair{data.view(), other.view(), weights.data()};
            CHECK(same(pair, {x.view(), t.view(), weights.data()}));
            CHECK(same(pair, {x.view(), apart.view(), weights.data()}));  // of another stride: copied together
            CHECK(same(pair, {x.view(), other.view(), weights.data()}));  // the targets on the host
            CHECK(same(pair, {data.view(), t.view(), weights.data()}));   // the inputs there

            const auto model = gpu().compile(program, {});
            model->write({initial_weights(program, 7), {}, {}});
            std::vector<float> expected(static_cast<std::size_t>(program.flat_size)), found(expected);
            const Totals a = model->gradient(pair, expected);
            const Totals b = model->gradient({x.view(), t.view(), weights.data()}, found);
            CHECK(same_bits(found, expected) && a.loss_sum == b.loss_sum && a.weight_sum == b.weight_sum);
        }
    }
}

TEST(an_autoencoder_takes_device_rows) {
    Rows data = make_rows(60, kWidth);
    for (float& value : data.values) value = std::abs(value);
    Configuration configuration = small_configuration();
    configuration.loss = Loss::bce;
    configuration.validation_fraction = 0.3;
    configuration.patience = 2;
    const DeviceRows x(data.view(), 4);
    Autoencoder host = make_autoencoder(gpu(), configuration);
    Autoencoder there = make_autoencoder(gpu(), configuration);
    host.fit(data.source(), nullptr, {});
    there.fit(samples(x), nullptr, {});
    CHECK(same_bits(there.weights(), host.weights()) &&
          there.state().history.val_loss == host.state().history.val_loss);
    CHECK(there.evaluate(samples(x)) == host.evaluate(data.source()));
    CHECK(there.gradients(samples(x)) == host.gradients(data.source()));

    const auto refusal = [&](auto&& body) -> std::string {
        try {
            body();
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    Rows bad = data;
    for (const auto& [value, text] : {std::pair{1.5F, "X[7, 3] is 1.5; loss=\"bce\" needs values in [0, 1]"},
                                      std::pair{kNan, "X[7, 3] is nan; X must be finite (no NaN, no infinity)"}}) {
        bad.values[7 * kWidth + 3] = value;
        const DeviceRows rows(bad.view(), 0);
        const Samples source = samples(rows);
        CHECK(refusal([&] { there.fit(source, nullptr, {}); }) == text);
        CHECK(refusal([&] { there.partial_fit(source, {}); }) == text);
        if (value != value) {
            const DeviceRows out(data.view(), 0);
            CHECK(refusal([&] { there.reconstruct(table(rows), out.out()); }) == text);
            const DeviceRows code(make_rows(60, 3).view(), 0);
            CHECK(refusal([&] { there.encode(table(rows), code.out()); }) == text);
        }
    }
    // What is scaled is scaled on the host: refused, before anybody reads it there.
    configuration.scaling = ScalingKind::standard;
    configuration.loss = Loss::mse;
    Autoencoder scaled = make_autoencoder(gpu(), configuration);
    const std::string text =
        "X is in a device's memory; with scaling or missing values, and for a detector, rows must be the host's";
    CHECK(refusal([&] { scaled.fit(samples(x), nullptr, {}); }) == text);
    CHECK(refusal([&] { scaled.partial_fit(samples(x), {}); }) == text);
    CHECK(refusal([&] { scaled.evaluate(samples(x)); }) == text);
    CHECK(refusal([&] { scaled.reconstruct(table(x), x.out()); }) == text);
}

TEST(wide_numbers_keep_their_digits) {
    const std::vector<std::int64_t> values{(std::int64_t{1} << 53) - 1, -7, 3, 0, 5, 6};
    const std::shared_ptr<void> from = on_device(values);
    const std::shared_ptr<void> to = memory().allocate(6 * 8);
    memory().widen({from.get(), ElementType::int64, 3, 2, 1, 3}, static_cast<double*>(to.get()));
    CHECK(on_host<double>(to.get(), 6) == std::vector<double>({9007199254740991.0, 0.0, -7.0, 5.0, 3.0, 6.0}));
}
