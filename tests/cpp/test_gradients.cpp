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

// sum_i w_i (e_i + p_i), and its parts
struct Objective {
    double loss = 0.0, penalty = 0.0, both = 0.0;
};
Objective objective(const reference::Network& network, const reference::Doubles& params, const RowSource& source) {
    Objective sum;
    for (std::int64_t r = 0; r < source.rows(); ++r) {
        const reference::Doubles row = reference::widen(source.inputs.row(r), source.inputs.cols);
        const reference::Doubles target = reference::widen(source.targets->row(r), source.targets->cols);
        const reference::Pass pass = network.forward(params, row, reference::draw(network.program(), {}, r));
        sum.loss += source.weight(r) * network.row_error(pass, target, source.masked);
        sum.penalty += source.weight(r) * network.penalty(pass);
        sum.both += source.weight(r) * network.objective(pass, target, source.masked);
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
            const double above = objective(network, moved, source).both;
            moved[at] = here - kStep;
            const double below = objective(network, moved, source).both;
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

// Rows with targets and weights of their own; `masked`: 40 % of the targets are missing, and all of the last row.
struct Data {
    Rows inputs = make_rows(kRows, kFeatures, 21);
    Rows targets{uniform(kRows * kFeatures, 22, 0.0, 1.0), kFeatures};
    std::vector<float> weights = uniform(kRows, 23, 0.5, 2.0);
    bool masked;

    explicit Data(bool masked) : masked(masked) {
        if (!masked) return;
        const std::vector<float> dice = uniform(kRows * kFeatures, 24, 0.0, 1.0);
        for (std::size_t i = 0; i < dice.size(); ++i) {
            const bool is_last = i >= dice.size() - static_cast<std::size_t>(kFeatures);
            if (dice[i] < 0.4F || is_last) targets.values[i] = std::nanf("");
        }
        weights.back() = 0.0F;
    }

    RowSource source() const {
        RowSource source{inputs.view(), targets.view(), weights.data()};
        source.masked = masked;
        return source;
    }
};

// Every parameter of a network of this configuration on every device; with a sign error planted in each.
void check_gradients(const Configuration& configuration, const std::string& name, bool masked = false) {
    const Data data(masked);
    const RowSource source = data.source();
    const Program program = build_program(configuration, kFeatures);
    Tensors tensors;
    tensors.params.resize(static_cast<std::size_t>(program.flat_size));
    std::uint64_t seed = 31;
    for (const Parameter& parameter : program.parameters) {
        const std::vector<float> values = uniform(parameter.size(), seed++);
        std::copy(values.begin(), values.end(), tensors.params.begin() + parameter.offset);
    }
    const reference::Doubles expected = differences(program, tensors.params, source);
    const Objective sums = objective(reference::Network(program), reference::widen(tensors.params), source);
    for (const Device* device : devices()) {
        const auto model = device->compile(program, {});
        model->write(tensors);
        std::vector<float> gradient(tensors.params.size(), std::nanf(""));
        const Totals totals = model->gradient(source, gradient);
        const bool right = agrees(program, gradient, expected);
        if (!right) std::printf("%s, %s\n", device->name().c_str(), name.c_str());
        CHECK(right);
        CHECK(std::abs(totals.loss_sum / sums.loss - 1.0) < 1e-6);
        CHECK(std::abs(totals.penalty_sum - sums.penalty) <= 1e-6 * sums.penalty);
        double weight_sum = 0.0;
        for (const float weight : data.weights) weight_sum += weight;
        CHECK(std::abs(totals.weight_sum / weight_sum - 1.0) < 1e-12);
        for (std::size_t p = 0; p < program.parameters.size(); ++p) {
            CHECK(!agrees(program, gradient, expected, static_cast<int>(p)));
        }
    }
}

}  // namespace

TEST(gradients_are_those_of_finite_differences) {
    for (std::size_t a = 0; a < math::names<Activation>().size(); ++a) {
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            const auto activation = static_cast<Activation>(a);
            const auto loss = static_cast<Loss>(l);
            check_gradients(network(activation, loss),
                            std::string(math::name(activation)) + ", " + std::string(math::name(loss)));
        }
    }
}

TEST(gradients_of_a_shared_weight_are_the_sum_of_both_uses) {
    for (const Activation activation : {Activation::tanh, Activation::gelu}) {
        for (const Loss loss : {Loss::mse, Loss::bce}) {
            Configuration configuration = network(activation, loss);
            configuration.tied_weights = true;
            check_gradients(configuration, "tied, " + std::string(math::name(activation)));
        }
    }
}

TEST(gradients_of_sparse_codes) {
    for (const Activation activation : {Activation::linear, Activation::tanh, Activation::gelu, Activation::relu}) {
        for (const std::int64_t keep : {0, 1, 2, 3}) {
            for (const double l1 : {0.0, 0.5}) {
                Configuration configuration = network(activation, Loss::mse);
                configuration.code_l1 = l1;
                if (keep > 0) configuration.code_topk = keep;
                configuration.tied_weights = keep == 2;
                check_gradients(configuration, "code_topk " + std::to_string(keep) + ", code_l1 " + std::to_string(l1));
            }
        }
    }
}

TEST(gradients_of_drawn_codes) {
    for (const Activation activation : {Activation::tanh, Activation::gelu}) {
        for (const Loss loss : {Loss::mse, Loss::bce}) {
            for (const double weight : {0.0, 1.0, 30.0}) {
                Configuration configuration = network(activation, loss);
                configuration.kind = ModelKind::variational_autoencoder;
                configuration.code_activation = Activation::linear;
                configuration.kl_weight = weight;
                check_gradients(configuration, "variational, kl_weight " + std::to_string(weight));
            }
        }
    }
}

TEST(gradients_where_values_are_missing) {
    for (const Activation activation : {Activation::tanh, Activation::gelu, Activation::relu}) {
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            const auto loss = static_cast<Loss>(l);
            check_gradients(network(activation, loss), "masked, " + std::string(math::name(loss)), true);
        }
    }
    Configuration configuration = network(Activation::tanh, Loss::mse);
    configuration.tied_weights = true;
    configuration.code_l1 = 0.5;
    check_gradients(configuration, "masked, tied and sparse", true);
    configuration = network(Activation::tanh, Loss::mse);
    configuration.kind = ModelKind::variational_autoencoder;
    configuration.code_activation = Activation::linear;
    check_gradients(configuration, "masked, variational", true);
}
