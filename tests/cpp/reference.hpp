// SPDX-License-Identifier: Apache-2.0
// A network once more in double and in its plainest form, one row at a time. It shares no formula with the package.
//
// Parameters are doubles in the flat layout of Program::parameters, so that a test may move one by less than a float
// can hold and see the loss answer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <stdexcept>
#include <vector>

#include "device/contract.hpp"

namespace reference {

using Doubles = std::vector<double>;

inline double logistic(double z) { return z >= 0.0 ? 1.0 / (1.0 + std::exp(-z)) : std::exp(z) / (1.0 + std::exp(z)); }

inline double gauss(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi); }
inline double gauss_integral(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

inline double activate(isthmus::Activation activation, double z) {
    using enum isthmus::Activation;
    switch (activation) {
        case linear: return z;
        case relu: return std::max(z, 0.0);
        case leaky_relu: return z > 0.0 ? z : 0.01 * z;
        case elu: return z > 0.0 ? z : std::expm1(z);
        case gelu: return z * gauss_integral(z);
        case silu: return z * logistic(z);
        case softplus: return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
        case sigmoid: return logistic(z);
        case tanh: return std::tanh(z);
    }
    throw std::logic_error("activation");
}

// At a kink: from the left.
inline double derivative(isthmus::Activation activation, double z) {
    using enum isthmus::Activation;
    switch (activation) {
        case linear: return 1.0;
        case relu: return z > 0.0 ? 1.0 : 0.0;
        case leaky_relu: return z > 0.0 ? 1.0 : 0.01;
        case elu: return z > 0.0 ? 1.0 : std::exp(z);
        case gelu: return gauss_integral(z) + z * gauss(z);
        case silu: return logistic(z) * (1.0 + z * logistic(-z));
        case softplus: return logistic(z);
        case sigmoid: return logistic(z) * logistic(-z);
        case tanh: return 1.0 - std::tanh(z) * std::tanh(z);
    }
    throw std::logic_error("activation");
}

inline bool from_logits(isthmus::Loss loss) { return loss == isthmus::Loss::bce; }

// Of one element; `y` is the output, for bce the logit.
inline double loss_value(isthmus::Loss loss, double y, double t) {
    const double difference = y - t;
    switch (loss) {
        case isthmus::Loss::mse: return difference * difference;
        case isthmus::Loss::bce: return std::max(y, 0.0) - y * t + std::log1p(std::exp(-std::abs(y)));
        case isthmus::Loss::mae: return std::abs(difference);
        case isthmus::Loss::huber:
            return std::abs(difference) <= 1.0 ? 0.5 * difference * difference : std::abs(difference) - 0.5;
    }
    throw std::logic_error("loss");
}

inline double loss_derivative(isthmus::Loss loss, double y, double t) {
    const double difference = y - t;
    switch (loss) {
        case isthmus::Loss::mse: return 2.0 * difference;
        case isthmus::Loss::bce: return logistic(y) - t;
        case isthmus::Loss::mae: return difference > 0.0 ? 1.0 : difference < 0.0 ? -1.0 : 0.0;
        case isthmus::Loss::huber: return std::clamp(difference, -1.0, 1.0);
    }
    throw std::logic_error("loss");
}

// Every z and y of one row: z[i] and y[i + 1] are those of op i, y[0] is the input.
struct Pass {
    std::vector<Doubles> z, y;
};

class Network {
public:
    explicit Network(const isthmus::Program& program) : program_(program) {}

    const isthmus::Program& program() const { return program_; }

    // Ops [first, last).
    Pass forward(std::span<const double> params, Doubles input, std::size_t first, std::size_t last) const {
        Pass pass;
        pass.y.push_back(std::move(input));
        for (std::size_t op = first; op < last; ++op) {
            const auto [weight, bias, activation] = dense(op);
            Doubles z(static_cast<std::size_t>(bias.rows));
            for (std::size_t o = 0; o < z.size(); ++o) {
                z[o] = params[static_cast<std::size_t>(bias.offset) + o];
                for (std::size_t i = 0; i < pass.y.back().size(); ++i) {
                    z[o] += params[index(weight, o, i)] * pass.y.back()[i];
                }
            }
            Doubles y = z;
            for (double& value : y) value = activate(activation, value);
            pass.z.push_back(std::move(z));
            pass.y.push_back(std::move(y));
        }
        return pass;
    }

    Pass forward(std::span<const double> params, Doubles input) const {
        return forward(params, std::move(input), 0, program_.ops.size());
    }

    // Loss of each element of the row.
    Doubles element_losses(const Pass& pass, std::span<const double> target) const {
        Doubles losses = output(pass);
        for (std::size_t i = 0; i < losses.size(); ++i) losses[i] = loss_value(program_.loss, losses[i], target[i]);
        return losses;
    }

    // e_i, the mean of the row's loss over its features; where they are masked, over those whose target is not NaN, 0
    // without any.
    double row_error(const Pass& pass, std::span<const double> target, bool masked = false) const {
        const Doubles losses = element_losses(pass, target);
        double sum = 0.0;
        for (std::size_t i = 0; i < losses.size(); ++i) sum += masked && std::isnan(target[i]) ? 0.0 : losses[i];
        return sum / divisor(target, masked);
    }

    // gradient += row_weight * d e_i / d params
    void backward(std::span<const double> params, const Pass& pass, std::span<const double> target, double row_weight,
                  std::span<double> gradient, bool masked = false) const {
        Doubles dy = output(pass);
        for (std::size_t i = 0; i < dy.size(); ++i) {
            const bool missing = masked && std::isnan(target[i]);
            dy[i] =
                missing ? 0.0 : loss_derivative(program_.loss, dy[i], target[i]) * row_weight / divisor(target, masked);
        }
        for (std::size_t op = program_.ops.size(); op-- > 0;) {
            const auto [weight, bias, activation] = dense(op);
            const bool at_logits = op + 1 == program_.ops.size() && from_logits(program_.loss);
            Doubles dz = dy;
            for (std::size_t o = 0; o < dz.size(); ++o) {
                if (!at_logits) dz[o] *= derivative(activation, pass.z[op][o]);
            }
            dy.assign(pass.y[op].size(), 0.0);
            for (std::size_t o = 0; o < dz.size(); ++o) {
                gradient[static_cast<std::size_t>(bias.offset) + o] += dz[o];
                for (std::size_t i = 0; i < dy.size(); ++i) {
                    gradient[index(weight, o, i)] += dz[o] * pass.y[op][i];
                    dy[i] += dz[o] * params[index(weight, o, i)];
                }
            }
        }
    }

private:
    struct Layer {
        isthmus::Parameter weight, bias;
        isthmus::Activation activation;
    };

    Layer dense(std::size_t op) const {
        const auto& dense = std::get<isthmus::Dense>(program_.ops[op]);
        return {program_.parameters[dense.weight], program_.parameters[dense.bias], dense.activation};
    }

    static double divisor(std::span<const double> target, bool masked) {
        const auto counts = [&](double t) { return !masked || !std::isnan(t); };
        return static_cast<double>(std::max<std::ptrdiff_t>(1, std::count_if(target.begin(), target.end(), counts)));
    }

    static std::size_t index(const isthmus::Parameter& weight, std::size_t o, std::size_t i) {
        return static_cast<std::size_t>(weight.offset) + o * static_cast<std::size_t>(weight.cols) + i;
    }

    const Doubles& output(const Pass& pass) const { return from_logits(program_.loss) ? pass.z.back() : pass.y.back(); }

    const isthmus::Program& program_;
};

}  // namespace reference
