// SPDX-License-Identifier: Apache-2.0
// Rows of every type and layout on their way to a device: against the plain formula, and whole, in place and in
// stretches with the same bits.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/row_feed.hpp"
#include "core/scaling.hpp"
#include "training_fixture.hpp"

using namespace isthmus;
using namespace fixture;

namespace {

constexpr std::int64_t kCols = 3;

template <class T>
Table table_of(const std::vector<T>& values, Number number) {
    const auto size = static_cast<std::int64_t>(sizeof(T));
    return {values.data(), number, static_cast<std::int64_t>(values.size()) / kCols, kCols, kCols * size, size};
}

// Rows as they reach a device, with and without scaling, against the formula in double.
template <class T>
void check_conversion(const std::vector<T>& values, Number number) {
    const Table table = table_of(values, number);
    const Scaling scaling{{1.0, -2.0, 0.5}, {2.0, 0.25, 3.0}};
    std::vector<float> out(values.size());
    const MutableMatrixView view{out.data(), table.rows, kCols, kCols};
    CHECK(!convert(table, 0, nullptr, view));
    for (std::size_t i = 0; i < values.size(); ++i) CHECK(out[i] == static_cast<float>(values[i]));
    CHECK(!convert(table, 0, &scaling, view));
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t c = i % kCols;
        CHECK(out[i] == static_cast<float>((static_cast<double>(values[i]) - scaling.shift[c]) / scaling.scale[c]));
    }
}

std::string refusal(const Table& table, const Passage& passage, RowFeed::Copy copy) {
    try {
        RowFeed feed({table, std::nullopt, nullptr}, passage, kRowNames, copy);
    } catch (const Error& error) {
        return error.what();
    }
    return "taken";
}

}  // namespace

TEST(every_type_of_number_is_converted) {
    check_conversion<float>({0.5F, -1e30F, 3.0F, 1e-40F, -0.0F, 7.0F}, Number::f32);
    check_conversion<double>({0.1, -1e30, 1e9 + 0.25, 1e-300, -0.0, 7.0}, Number::f64);
    check_conversion<std::int8_t>({-128, 127, 0, 1, -1, 5}, Number::i8);
    check_conversion<std::int16_t>({-32768, 32767, 0, 1, -1, 5}, Number::i16);
    check_conversion<std::int32_t>({INT32_MIN, INT32_MAX, 0, 1, -1, 5}, Number::i32);
    check_conversion<std::int64_t>({INT64_MIN, INT64_MAX, 0, 1, -1, 5}, Number::i64);
    check_conversion<std::uint8_t>({0, 255, 1, 2, 3, 4}, Number::u8);
    check_conversion<std::uint16_t>({0, 65535, 1, 2, 3, 4}, Number::u16);
    check_conversion<std::uint32_t>({0, UINT32_MAX, 1, 2, 3, 4}, Number::u32);
    check_conversion<std::uint64_t>({0, UINT64_MAX, 1, 2, 3, 4}, Number::u64);
}

TEST(any_strides_and_alignment) {
    const std::vector<double> values{1.0, 2.0, 3.0, 4.0, 5.0, 6.0};
    const Table plain = table_of(values, Number::f64);
    std::vector<char> bytes(values.size() * sizeof(double) + 1);
    std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(double));
    const Table misaligned(bytes.data() + 1, Number::f64, 2, kCols, plain.row_bytes, plain.col_bytes);
    const std::vector<double> columns{1.0, 4.0, 2.0, 5.0, 3.0, 6.0};
    const Table transposed(columns.data(), Number::f64, 2, kCols, 8, 16);
    const Table reversed(values.data() + 5, Number::f64, 2, kCols, -24, -8);
    const auto converted = [](const Table& table) {
        std::vector<float> out(6);
        CHECK(!convert(table, 0, nullptr, {out.data(), 2, kCols, kCols}));
        return out;
    };
    CHECK(converted(misaligned) == converted(plain) && converted(transposed) == converted(plain));
    CHECK(converted(reversed) == (std::vector<float>{6, 5, 4, 3, 2, 1}));
    CHECK(!misaligned.view() && !transposed.view() && !plain.view());
    const Rows rows = make_rows(4, kCols);
    CHECK(Table(rows.view()).view()->data == rows.values.data());
}

TEST(values_are_named_as_they_came) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    for (const RowFeed::Copy copy : {RowFeed::Copy::whole, RowFeed::Copy::by_size, RowFeed::Copy::stretches}) {
        std::vector<double> values(30, 0.5);
        const Table table = table_of(values, Number::f64);
        CHECK(refusal(table, {}, copy) == "taken");
        values[16] = kNan;
        CHECK(refusal(table, {}, copy) == "X[5, 1] is nan; X must be finite (no NaN, no infinity)");
        values[16] = 1e39;
        CHECK(refusal(table, {}, copy) == "X[5, 1] is 1e+39, beyond the largest float32, 3.4028235e+38");
        values[16] = 1.5;
        CHECK(refusal(table, {Loss::bce, nullptr, false}, copy) ==
              "X[5, 1] is 1.5; loss=\"bce\" needs values in [0, 1]");
        CHECK(refusal(table, {Loss::bce, nullptr, true}, copy) == "taken");
    }
}

TEST(targets_are_clipped_and_inputs_are_not) {
    const std::vector<double> values{0.5, 2.0, -1.0, 0.0, 1.0, 0.25};
    RowFeed feed({table_of(values, Number::f64), std::nullopt, nullptr}, {Loss::bce, nullptr, true}, kRowNames,
                 RowFeed::Copy::whole);
    const RowSource rows = feed.block(0, 2);
    CHECK(rows.inputs.row(0)[1] == 2.0F && rows.inputs.row(0)[2] == -1.0F);
    CHECK(rows.targets && rows.targets->row(0)[1] == 1.0F && rows.targets->row(0)[2] == 0.0F);
    CHECK(rows.targets->row(1)[2] == 0.25F);
}

// Of (rows, 3) doubles with a NaN here and there: inputs with means, targets with holes, no weight for a row of holes.
TEST(missing_values_enter_as_means) {
    const double nan = std::nan("");
    const std::vector<double> values{0.5, nan, 0.25, nan, nan, nan, 1.0, 0.0, 0.75};
    const std::vector<double> means{0.5, 0.125, 1.0};
    const Scaling scaling{{0.25, 0.0, 1.0}, {0.5, 0.25, 2.0}};
    const Samples samples{table_of(values, Number::f64), std::nullopt, nullptr};
    CHECK(refusal(samples.inputs, {}, RowFeed::Copy::whole).find("X[0, 1] is nan") == 0);
    for (const RowFeed::Copy copy : {RowFeed::Copy::whole, RowFeed::Copy::stretches, RowFeed::Copy::blocks}) {
        RowFeed feed(samples, {Loss::mse, &scaling, false, &means}, kRowNames, copy);
        const RowSource rows = feed.block(0, 3);
        CHECK(rows.masked && rows.targets && rows.weights != nullptr);
        CHECK(rows.inputs.row(0)[0] == 0.5F && rows.inputs.row(0)[1] == 0.5F && rows.inputs.row(1)[0] == 0.5F);
        CHECK(rows.inputs.row(1)[2] == 0.0F);
        CHECK(rows.targets->row(0)[0] == 0.5F && std::isnan(rows.targets->row(0)[1]));
        CHECK(rows.weights[0] == 1.0F && rows.weights[1] == 0.0F && rows.weights[2] == 1.0F);
        const RowSource whole = feed.block(2, 1);
        CHECK(whole.inputs.row(0)[0] == 1.5F && whole.weight(0) == 1.0F);
        Converted converted;
        const std::vector<std::int64_t> numbers{2, 1};
        const RowSource some = feed.gather(numbers, converted);
        CHECK(some.weights[0] == 1.0F && some.weights[1] == 0.0F);
    }
    // Before there are means: 0 of the device's space.
    const std::vector<double> none;
    RowFeed feed(samples, {Loss::mse, &scaling, false, &none}, kRowNames, RowFeed::Copy::whole);
    CHECK(feed.block(0, 1).inputs.row(0)[1] == 0.0F);
}

TEST(rows_without_holes_are_read_in_place_under_a_mask) {
    std::vector<float> values{0.5F, 0.25F, 1.0F, 0.0F, 0.75F, 1.0F};
    const std::vector<double> means(3, 0.5);
    const Table table(values.data(), Number::f32, 2, 3, 12, 4);
    for (const Loss loss : {Loss::mse, Loss::bce}) {
        RowFeed feed({table, std::nullopt, nullptr}, {loss, nullptr, false, &means}, kRowNames, RowFeed::Copy::whole);
        CHECK(feed.block(0, 2).inputs.data == values.data() && !feed.block(0, 2).masked);
        values[4] = std::nanf("");
        RowFeed copy({table, std::nullopt, nullptr}, {loss, nullptr, false, &means}, kRowNames, RowFeed::Copy::whole);
        CHECK(copy.block(0, 2).masked && copy.block(0, 2).inputs.row(1)[1] == 0.5F);
        values[4] = 0.75F;
    }
    values[4] = INFINITY;
    CHECK(refusal(table, {Loss::mse, nullptr, false, &means}, RowFeed::Copy::whole).find("X[1, 1] is inf") == 0);
    values[4] = 1.5F;
    values[0] = std::nanf("");
    CHECK(refusal(table, {Loss::bce, nullptr, false, &means}, RowFeed::Copy::whole) ==
          "X[1, 1] is 1.5; loss=\"bce\" needs values in [0, 1]");
}

TEST(statistics_are_of_the_values_that_are_there) {
    constexpr std::int64_t kRows = 700;  // more than a block
    std::vector<double> values(static_cast<std::size_t>(kRows * kCols));
    const std::vector<float> dice = uniform(kRows * kCols, 3, 0.0, 1.0);
    const std::vector<float> noise = uniform(kRows * kCols, 4);
    const std::vector<float> weights = uniform(kRows, 5, 0.5, 2.0);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const bool is_rare = i % kCols == 1;  // the first block has none of this column
        values[i] = dice[i] < (is_rare ? 0.98 : 0.3) || (is_rare && i < 300 * kCols) ? std::nan("") : 1e6 + noise[i];
    }
    const Table table = table_of(values, Number::f64);
    const Columns found = fit_columns(ScalingKind::standard, table, {}, weights.data(), "X");
    for (std::size_t c = 0; c < kCols; ++c) {
        long double sum = 0.0L;
        long double weight = 0.0L;
        long double squares = 0.0L;
        for (std::size_t r = 0; r < kRows; ++r) {
            if (std::isnan(values[r * kCols + c])) continue;
            sum += static_cast<long double>(weights[r]) * values[r * kCols + c];
            weight += weights[r];
        }
        const long double mean = sum / weight;
        for (std::size_t r = 0; r < kRows; ++r) {
            const long double d = values[r * kCols + c] - mean;
            if (!std::isnan(values[r * kCols + c])) squares += weights[r] * d * d;
        }
        CHECK(std::abs(found.means[c] - static_cast<double>(mean)) < 1e-9);
        CHECK(found.scaling.shift[c] == found.means[c]);
        CHECK(std::abs(found.scaling.scale[c] / static_cast<double>(std::sqrt(squares / weight)) - 1.0) < 1e-9);
    }
    // Without holes both ways give the same bits.
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = noise[i];
    for (const ScalingKind kind : {ScalingKind::standard, ScalingKind::minmax}) {
        const Scaling plain = fit_scaling(kind, table, {}, weights.data(), "X");
        const Scaling masked = fit_columns(kind, table, {}, weights.data(), "X").scaling;
        CHECK(plain.shift == masked.shift && plain.scale == masked.scale);
    }
    for (std::size_t r = 0; r < kRows; ++r) values[r * kCols + 2] = std::nan("");
    CHECK_THROWS(fit_scaling(ScalingKind::standard, table, {}, nullptr, "X"), ErrorKind::value);
    CHECK_THROWS(fit_columns(std::nullopt, table, {}, nullptr, "X"), ErrorKind::value);
}

// 900 columns and batches of 512 rows: nine steps a stretch, of the twenty of an epoch.
TEST(stretches_train_with_the_same_bits) {
    constexpr std::int64_t kRows = 20 * 512 - 100;
    constexpr std::int64_t kWide = 900;
    const std::vector<float> uniforms = uniform(kRows * kWide, 1, -1.0, 1.0);
    const std::vector<double> values(uniforms.begin(), uniforms.end());
    const std::vector<float> weights = uniform(kRows, 2, 0.5, 2.0);
    const Table table(values.data(), Number::f64, kRows, kWide, 8 * kWide, 8);
    const Samples samples{table, std::nullopt, weights.data()};
    const Scaling scaling = fit_scaling(ScalingKind::standard, table, {}, weights.data(), "X");
    Configuration configuration;
    configuration.encoder_layers = {{4}};
    configuration.batch_size = 512;
    configuration.epochs = 2;
    configuration.input_noise = 0.1;
    std::vector<TrainingState> states;
    for (const RowFeed::Copy copy : {RowFeed::Copy::whole, RowFeed::Copy::stretches}) {
        Trained trained(cpu::device(), configuration, kWide);
        RowFeed rows(samples, {Loss::mse, &scaling, false}, kRowNames, copy);
        RowFeed validation(samples.slice(0, 700), {Loss::mse, &scaling, false}, kRowNames, copy);
        isthmus::fit(*trained.model, trained.state, configuration, rows, &validation, {});
        states.push_back(trained.state);
    }
    CHECK(same_tensors(states[0].tensors, states[1].tensors) && same_progress(states[0], states[1]));
    CHECK(states[0].step == 40 && states[0].history.val_loss.size() == 2);
}
