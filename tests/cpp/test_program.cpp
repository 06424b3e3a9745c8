// SPDX-License-Identifier: Apache-2.0
// From a configuration to a program, its first weights, the order of rows, and the scans at the door.
#include "core/program.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "check.hpp"
#include "core/checks.hpp"
#include "core/parameters.hpp"
#include "core/permutation.hpp"
#include "math/names.hpp"

using namespace isthmus;

namespace {

Configuration deep(Activation activation) {
    Configuration configuration;
    configuration.encoder_layers = {20, 6, 3};
    configuration.decoder_layers = {5};
    configuration.activation = activation;
    configuration.code_activation = Activation::tanh;
    return configuration;
}

const Dense& dense(const Program& program, std::size_t op) { return std::get<Dense>(program.ops[op]); }

// FNV-1a over the bytes of integers, low byte first. The values it is compared with come from a separate program in
// Python's integers; a change of any of them raises kNumericsVersion.
template <class T>
std::uint64_t hash(const std::vector<T>& values) {
    std::uint64_t h = 0xcbf29ce484222325U;
    for (const T value : values) {
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            h = (h ^ ((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xff)) * 0x100000001b3U;
        }
    }
    return h;
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
    std::vector<std::uint32_t> all;
    for (const float value : values) all.push_back(__builtin_bit_cast(std::uint32_t, value));
    return all;
}

bool finds(std::optional<Position> found, std::int64_t row, std::int64_t col) {
    return found && found->row == row && found->col == col;
}

}  // namespace

TEST(programs_have_the_layers_of_the_configuration) {
    for (std::size_t i = 0; i < math::names<Activation>().size(); ++i) {
        const auto activation = static_cast<Activation>(i);
        for (const Loss loss : {Loss::mse, Loss::bce}) {
            Configuration configuration = deep(activation);
            configuration.loss = loss;
            const Program program = build_program(configuration, 30);
            const std::array<std::int64_t, 6> widths{30, 20, 6, 3, 5, 30};
            CHECK(program.n_features == 30 && program.ops.size() == 5 && program.code_op == 2);
            CHECK(program.loss == loss && program.flat_size % 16 == 0);
            for (std::size_t op = 0; op < widths.size(); ++op) CHECK(program.width(op) == widths[op]);
            std::int64_t end = 0;
            for (std::size_t op = 0; op < program.ops.size(); ++op) {
                const Parameter& weight = program.parameters[dense(program, op).weight];
                const Parameter& bias = program.parameters[dense(program, op).bias];
                CHECK(weight.rows == widths[op + 1] && weight.cols == widths[op]);
                CHECK(bias.rows == widths[op + 1] && bias.cols == 1);
                CHECK(weight.offset % 16 == 0 && weight.offset >= end);
                CHECK(bias.offset % 16 == 0 && bias.offset >= weight.offset + weight.size());
                end = bias.offset + bias.size();
            }
            CHECK(end <= program.flat_size);
            const Activation output = loss == Loss::bce ? Activation::sigmoid : Activation::linear;
            const std::array<Activation, 5> expected{activation, activation, Activation::tanh, activation, output};
            for (std::size_t op = 0; op < 5; ++op) CHECK(dense(program, op).activation == expected[op]);
        }
    }
}

TEST(the_output_activation_wins_over_the_default) {
    Configuration configuration = deep(Activation::relu);
    configuration.output_activation = Activation::softplus;
    CHECK(dense(build_program(configuration, 4), 4).activation == Activation::softplus);
}

TEST(a_decoder_without_hidden_layers_goes_straight_to_the_output) {
    Configuration configuration = deep(Activation::relu);
    configuration.encoder_layers = {3};
    configuration.decoder_layers.emplace();
    const Program program = build_program(configuration, 9);
    CHECK(program.ops.size() == 2 && program.code_op == 0 && program.width(1) == 3 && program.width(2) == 9);
    CHECK(dense(program, 0).activation == Activation::tanh && dense(program, 1).activation == Activation::linear);
}

TEST(tied_decoders_use_the_encoders_weights) {
    Configuration configuration = deep(Activation::relu);
    configuration.decoder_layers.reset();
    configuration.tied_weights = true;
    const Program program = build_program(configuration, 30);
    const std::array<std::int64_t, 7> widths{30, 20, 6, 3, 6, 20, 30};
    CHECK(program.ops.size() == 6 && program.parameters.size() == 9);
    for (std::size_t op = 0; op < widths.size(); ++op) CHECK(program.width(op) == widths[op]);
    for (std::size_t op = 3; op < 6; ++op) {
        CHECK(dense(program, op).transposed && dense(program, op).weight == dense(program, 5 - op).weight);
    }
    // The shared weight starts as the encoder's own would.
    configuration.tied_weights = false;
    const Program apart = build_program(configuration, 30);
    const std::vector<float> shared = initial_weights(program, 5);
    const std::vector<float> own = initial_weights(apart, 5);
    const auto end = static_cast<std::ptrdiff_t>(program.parameters[5].offset);
    CHECK(std::equal(shared.begin(), shared.begin() + end, own.begin()));
}

TEST(parameters_are_named_by_side_and_layer) {
    const std::vector<std::string> names = parameter_names(resolve_widths(deep(Activation::relu), 30));
    CHECK((names == std::vector<std::string>{"encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
                                             "encoder.2.weight", "encoder.2.bias", "decoder.0.weight", "decoder.0.bias",
                                             "decoder.1.weight", "decoder.1.bias"}));
}

TEST(initial_weights_fill_their_interval) {
    for (std::size_t i = 0; i < math::names<Activation>().size(); ++i) {
        Configuration configuration;
        configuration.encoder_layers = {128, 64};
        configuration.activation = configuration.code_activation = static_cast<Activation>(i);
        configuration.output_activation = static_cast<Activation>(i);
        const Program program = build_program(configuration, 64);
        const std::vector<float> flat = initial_weights(program, 3);
        const std::string_view name = math::name(static_cast<Activation>(i));
        const std::set<std::string_view> he{"relu", "leaky_relu", "elu", "gelu", "silu"};
        std::size_t zeros = 0;
        for (std::size_t op = 0; op < program.ops.size(); ++op) {
            const Parameter& weight = program.parameters[dense(program, op).weight];
            const double fan = static_cast<double>(he.count(name) != 0 ? weight.cols : weight.cols + weight.rows);
            const double limit = std::sqrt(6.0 / fan);
            const std::vector<float> values(flat.begin() + weight.offset, flat.begin() + weight.offset + weight.size());
            const auto [low, high] = std::minmax_element(values.begin(), values.end());
            CHECK(-limit <= *low && *low < -0.99 * limit && 0.99 * limit < *high && *high <= limit);
            double square = 0.0;
            for (const float value : values) square += static_cast<double>(value) * value;
            const double n = static_cast<double>(values.size());
            CHECK(std::abs(std::accumulate(values.begin(), values.end(), 0.0) / n) < 0.03 * limit);
            CHECK(std::abs(square / n / (limit * limit / 3.0) - 1.0) < 0.05);  // the variance of a uniform
            zeros += static_cast<std::size_t>(std::count(values.begin(), values.end(), 0.0F));
            const Parameter& bias = program.parameters[dense(program, op).bias];
            for (std::int64_t b = 0; b < bias.size(); ++b)
                CHECK(flat[static_cast<std::size_t>(bias.offset + b)] == 0.0F);
        }
        CHECK(zeros < 4);
    }
}

TEST(initial_weights_depend_on_seed_and_place_alone) {
    const Program program = build_program(deep(Activation::relu), 30);
    CHECK(initial_weights(program, 5) == initial_weights(program, 5));
    CHECK(initial_weights(program, 5) != initial_weights(program, 6));
    CHECK(initial_weights(program, 5) != initial_weights(program, 5 + (std::uint64_t{1} << 32)));
    // The layers draw apart, and a gap between parameters is zero.
    Configuration square;
    square.encoder_layers = {5, 5};
    square.activation = square.code_activation = Activation::tanh;
    const Program same = build_program(square, 5);
    const std::vector<float> flat = initial_weights(same, 5);
    CHECK(!std::equal(flat.begin(), flat.begin() + 25, flat.begin() + same.parameters[2].offset));
    for (std::size_t i = 25; i < 32; ++i) CHECK(flat[i] == 0.0F);
    CHECK(hash(bits(initial_weights(program, 5))) == 0x49a8512a4a737ee6U);
}

TEST(permutations_hold_every_row_once) {
    for (const std::int64_t n : {0, 1, 2, 3, 10, 1001, 65536, 65537}) {
        for (const std::uint32_t epoch : {0U, 1U, 0xffffffffU}) {
            std::vector<std::int64_t> rows = permutation(9, epoch, n);
            CHECK(rows == permutation(9, epoch, n));
            std::vector<std::int64_t> all(static_cast<std::size_t>(n));
            std::iota(all.begin(), all.end(), std::int64_t{0});
            CHECK(n < 10 || rows != all);
            std::sort(rows.begin(), rows.end());
            CHECK(rows == all);
        }
    }
    CHECK(permutation(9, 0, 100) != permutation(9, 1, 100));
    CHECK(permutation(9, 0, 100) != permutation(10, 0, 100));
    CHECK(hash(permutation(9, 4, 1000)) == 0x2ca20b3de3cc81d9U);
}

// Sixteen places of 65,537 rows, over 256 epochs, have rows of all 64 parts alike: chi-square with 63 degrees of
// freedom is below 103.4 with p = 0.999.
TEST(long_permutations_are_uniform) {
    std::vector<int> count(64);
    for (std::uint32_t epoch = 0; epoch < 256; ++epoch) {
        const std::vector<std::int64_t> rows = permutation(1, epoch, 65537);
        for (std::size_t i = 0; i < 16; ++i) ++count[static_cast<std::size_t>(rows[4096 * i] * 64 / 65537)];
    }
    double chi_square = 0.0;
    for (const int c : count) chi_square += (c - 64.0) * (c - 64.0) / 64.0;
    CHECK(chi_square < 103.4);
}

TEST(permutations_are_uniform) {
    // 24 orders of 4 rows over 24,000 epochs: chi-square with 23 degrees of freedom is below 49.7 with p = 0.999.
    std::vector<int> count(256);
    for (std::uint32_t epoch = 0; epoch < 24000; ++epoch) {
        std::size_t order = 0;
        for (const std::int64_t row : permutation(1, epoch, 4)) order = 4 * order + static_cast<std::size_t>(row);
        ++count[order];
    }
    double chi_square = 0.0;
    int orders = 0;
    for (const int c : count) {
        if (c == 0) continue;
        ++orders;
        chi_square += (c - 1000.0) * (c - 1000.0) / 1000.0;
    }
    CHECK(orders == 24);
    CHECK(chi_square < 49.7);
}

TEST(splits_are_ascending_complete_and_rounded) {
    for (const std::int64_t n : {2, 3, 10, 999}) {
        for (const double fraction : {1e-9, 0.1, 0.25, 0.5, 0.999999}) {
            const Split split = split_rows(4, fraction, n);
            const auto held_back = static_cast<std::int64_t>(split.validation.size());
            CHECK(held_back == std::clamp<std::int64_t>(std::llround(fraction * static_cast<double>(n)), 1, n - 1));
            CHECK(std::is_sorted(split.training.begin(), split.training.end()));
            CHECK(std::is_sorted(split.validation.begin(), split.validation.end()));
            std::set<std::int64_t> all(split.training.begin(), split.training.end());
            all.insert(split.validation.begin(), split.validation.end());
            CHECK(static_cast<std::int64_t>(all.size()) == n && *all.begin() == 0 && *all.rbegin() == n - 1);
        }
    }
    CHECK(split_rows(4, 0.5, 100).validation != split_rows(5, 0.5, 100).validation);
    CHECK_THROWS(split_rows(4, 0.5, 1), ErrorKind::value);
    CHECK(hash(split_rows(4, 0.2, 1000).validation) == 0xefca1caacf58b308U);
}

TEST(scans_find_the_first_place_wherever_it_is) {
    const float nan = std::nanf("");
    const float infinity = std::numeric_limits<float>::infinity();
    const float largest = std::numeric_limits<float>::max();
    for (const std::int64_t cols : {1, 3, 4, 15, 16, 17, 33}) {
        std::vector<float> values(static_cast<std::size_t>(5 * cols), largest);
        const MatrixView view{values.data(), 5, cols, cols};
        CHECK(!find_non_finite(view));
        for (std::int64_t i = 0; i < 5 * cols; ++i) {
            for (const float bad : {nan, -nan, infinity, -infinity}) {
                values[static_cast<std::size_t>(i)] = bad;
                values.back() = bad;
                CHECK(finds(find_non_finite(view), i / cols, i % cols));
                CHECK(finds(find_outside(view, -largest, largest), i / cols, i % cols));
                values.back() = largest;
            }
            values[static_cast<std::size_t>(i)] = -0.5F;
            CHECK(finds(find_outside(view, 0.0F, largest), i / cols, i % cols));
            values[static_cast<std::size_t>(i)] = largest;
        }
    }
    // Negative and zero strides: rows in their own order, one row that claims to be 2^40.
    std::vector<float> values(12, 1.0F);
    values[1] = nan;
    CHECK(finds(find_non_finite({values.data() + 9, 4, 3, -3}), 3, 1));
    CHECK(!find_non_finite({values.data() + 3, std::int64_t{1} << 40, 3, 0}));
    CHECK(finds(find_non_finite({values.data(), std::int64_t{1} << 40, 3, 0}), 0, 1));
}
