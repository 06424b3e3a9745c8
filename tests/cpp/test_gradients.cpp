// SPDX-License-Identifier: Apache-2.0
// The gradient of every activation with every loss on every device, against central differences of the loss in double;
// with planted sign errors, which the comparison must catch.
#include <cmath>
#include <string>

#include "check.hpp"
#include "math/names.hpp"
#include "reference.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

constexpr std::int64_t kFeatures = 6;
constexpr std::int64_t kRows = 7;

Configuration network(Activation activation, Loss loss) {
    Configuration configuration;
    configuration.encoder_layers = {5, 3};
    configuration.activation = configuration.code_activation = activation;
    configuration.loss = loss;
    if (loss != Loss::bce) configuration.output_activation = activation;  // bce takes sigmoid only
    return configuration;
}

// sum_i w_i e_i
double loss_sum(const reference::Network& network, const reference::Doubles& params, const RowSource& source) {
    double sum = 0.0;
    for (std::int64_t r = 0; r < source.rows(); ++r) {
        const reference::Doubles row = reference::widen(source.inputs.row(r), source.inputs.cols);
        const reference::Doubles target = reference::widen(source.targets->row(r), source.targets->cols);
        sum += source.weight(r) * network.row_error(network.forward(params, row), target, source.masked);
    }
    return sum;
}

reference::Doubles differences(const Program& program, const std::vector<float>& params, const RowSource& source) {
    constexpr double kStep = 1e-6;  // error of the difference: about 1e-12 / 1e-6 of the loss from each side's rounding
    const reference::Network network(program);
    reference::Doubles moved = reference::widen(params);
    reference::Doubles gradient(moved.size());
    for (const Parameter& parameter : program.parameters) {
        for (std::int64_t i = parameter.offset; i < parameter.offset + parameter.size(); ++i) {
            const auto at = static_cast<std::size_t>(i);
            const double here = moved[at];
            moved[at] = here + kStep;
            const double above = loss_sum(network, moved, source);
            moved[at] = here - kStep;
            const double below = loss_sum(network, moved, source);
            moved[at] = here;
            gradient[at] = (above - below) / (2.0 * kStep);
        }
    }
    return gradient;
}

// Each parameter by itself, so that a small one is not lost beside a large one: Frobenius norm of the difference within
// 1e-5 of the norm. `flipped` plants a sign error in one parameter; -1: in none.
bool agrees(const Program& program, const std::vector<float>& gradient, const reference::Doubles& expected,
            int flipped = -1) {
    for (std::size_t p = 0; p < program.parameters.size(); ++p) {
        const double sign = static_cast<int>(p) == flipped ? -1.0 : 1.0;
        double difference = 0.0;
        double norm = 0.0;
        for (std::int64_t i = 0; i < program.parameters[p].size(); ++i) {
            const auto at = static_cast<std::size_t>(program.parameters[p].offset + i);
            difference += std::pow(sign * gradient[at] - expected[at], 2);
            norm += std::pow(expected[at], 2);
        }
        if (!(norm > 0.0)) return false;  // says nothing: all units of a layer are dead
        if (!(std::sqrt(difference) <= 1e-5 * std::sqrt(norm))) return false;
    }
    return true;
}

void check_all(const RowSource& source) {
    for (std::size_t a = 0; a < math::names<Activation>().size(); ++a) {
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            const Configuration configuration = network(static_cast<Activation>(a), static_cast<Loss>(l));
            const Program program = build_program(configuration, kFeatures);
            Tensors tensors;
            tensors.params.resize(static_cast<std::size_t>(program.flat_size));
            std::uint64_t seed = 31;
            for (const Parameter& parameter : program.parameters) {
                const std::vector<float> values = uniform(parameter.size(), seed++);
                std::copy(values.begin(), values.end(), tensors.params.begin() + parameter.offset);
            }
            const reference::Doubles expected = differences(program, tensors.params, source);
            const double loss = loss_sum(reference::Network(program), reference::widen(tensors.params), source);
            for (const Device* device : devices()) {
                const auto model = device->compile(program, {});
                model->write(tensors);
                std::vector<float> gradient(tensors.params.size(), std::nanf(""));
                const Totals totals = model->gradient(source, gradient);
                const bool right = agrees(program, gradient, expected);
                if (!right) {
                    std::printf("%s, %s, %s\n", device->name().c_str(),
                                std::string(math::name(static_cast<Activation>(a))).c_str(),
                                std::string(math::name(static_cast<Loss>(l))).c_str());
                }
                CHECK(right);
                CHECK(std::abs(totals.loss_sum / loss - 1.0) < 1e-6);
                double weight_sum = 0.0;
                for (std::int64_t r = 0; r < source.rows(); ++r) weight_sum += source.weight(r);
                CHECK(std::abs(totals.weight_sum / weight_sum - 1.0) < 1e-12);
                for (std::size_t p = 0; p < program.parameters.size(); ++p) {
                    CHECK(!agrees(program, gradient, expected, static_cast<int>(p)));
                }
            }
        }
    }
}

}  // namespace

TEST(gradients_are_those_of_finite_differences) {
    const Rows inputs = make_rows(kRows, kFeatures, 21);
    const Rows targets{uniform(kRows * kFeatures, 22, 0.0, 1.0), kFeatures};
    const std::vector<float> weights = uniform(kRows, 23, 0.5, 2.0);
    check_all({inputs.view(), targets.view(), weights.data()});
}

TEST(gradients_are_those_of_finite_differences_where_values_are_missing) {
    const Rows inputs = make_rows(kRows, kFeatures, 21);
    Rows targets{uniform(kRows * kFeatures, 22, 0.0, 1.0), kFeatures};
    std::vector<float> weights = uniform(kRows, 23, 0.5, 2.0);
    const std::vector<float> dice = uniform(kRows * kFeatures, 24, 0.0, 1.0);
    for (std::size_t i = 0; i < dice.size(); ++i) {
        const bool in_the_last_row = i >= dice.size() - static_cast<std::size_t>(kFeatures);
        if (dice[i] < 0.4F || in_the_last_row) targets.values[i] = std::nanf("");
    }
    weights.back() = 0.0F;
    RowSource source{inputs.view(), targets.view(), weights.data()};
    source.masked = true;
    check_all(source);
}
