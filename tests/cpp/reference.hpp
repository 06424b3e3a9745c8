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

// Every z and y of one row: z[i] and y[i + 1] are those of op i, y[0] is the input. eps: of which a code was drawn.
struct Pass {
    std::vector<Doubles> z, y;
    Doubles eps;
};

// The places of the k largest, the lower ones where some are equal.
inline std::vector<std::size_t> largest(const Doubles& values, std::int64_t k) {
    std::vector<std::size_t> order(values.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
    order.resize(static_cast<std::size_t>(k));
    return order;
}

class Network {
public:
    explicit Network(const isthmus::Program& program) : program_(program) {}

    const isthmus::Program& program() const { return program_; }

    // Ops [first, last). Without eps a code that would be drawn is its mean.
    Pass forward(std::span<const double> params, Doubles input, std::size_t first, std::size_t last,
                 Doubles eps = {}) const {
        Pass pass;
        pass.y.push_back(std::move(input));
        pass.eps = std::move(eps);
        for (std::size_t op = first; op < last; ++op) {
            const Doubles& x = pass.y.back();
            if (const auto* const top = std::get_if<isthmus::TopK>(&program_.ops[op])) {
                Doubles y(x.size());
                for (const std::size_t i : largest(x, top->k)) y[i] = x[i];
                pass.z.push_back(x);
                pass.y.push_back(std::move(y));
                continue;
            }
            if (std::holds_alternative<isthmus::GaussianSample>(program_.ops[op])) {
                Doubles y(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2));
                for (std::size_t i = 0; i < pass.eps.size(); ++i) {
                    y[i] += std::exp(0.5 * x[y.size() + i]) * pass.eps[i];
                }
                pass.z.push_back(x);
                pass.y.push_back(std::move(y));
                continue;
            }
            const auto [weight, bias, transposed, activation] = dense(op);
            Doubles z(static_cast<std::size_t>(bias.rows));
            for (std::size_t o = 0; o < z.size(); ++o) {
                z[o] = params[static_cast<std::size_t>(bias.offset) + o];
                for (std::size_t i = 0; i < x.size(); ++i) {
                    z[o] += params[transposed ? index(weight, i, o) : index(weight, o, i)] * x[i];
                }
            }
            Doubles y = z;
            for (double& value : y) value = activate(activation, value);
            pass.z.push_back(std::move(z));
            pass.y.push_back(std::move(y));
        }
        return pass;
    }

    Pass forward(std::span<const double> params, Doubles input, Doubles eps = {}) const {
        return forward(params, std::move(input), 0, program_.ops.size(), std::move(eps));
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

    // p_i before its weight.
    double penalty(const Pass& pass) const {
        if (!program_.penalty) return 0.0;
        double sum = 0.0;
        if (program_.penalty->kind == isthmus::PenaltyKind::code_l1) {
            const Doubles& code = pass.y[program_.code_op + 1];
            for (const double value : code) sum += std::abs(value);
            return sum / static_cast<double>(code.size());
        }
        const Doubles& code = pass.y[program_.code_op];
        for (std::size_t i = 0; i < code.size() / 2; ++i) {
            const double log_variance = code[code.size() / 2 + i];
            sum += 0.5 * (code[i] * code[i] + std::exp(log_variance) - 1.0 - log_variance);
        }
        return sum / static_cast<double>(program_.n_features);
    }

    // e_i + p_i
    double objective(const Pass& pass, std::span<const double> target, bool masked = false) const {
        const double weight = program_.penalty ? program_.penalty->weight : 0.0;
        return row_error(pass, target, masked) + weight * penalty(pass);
    }

    // gradient += row_weight * d (e_i + p_i) / d params
    void backward(std::span<const double> params, const Pass& pass, std::span<const double> target, double row_weight,
                  std::span<double> gradient, bool masked = false) const {
        Doubles dy = output(pass);
        for (std::size_t i = 0; i < dy.size(); ++i) {
            const bool missing = masked && std::isnan(target[i]);
            dy[i] =
                missing ? 0.0 : loss_derivative(program_.loss, dy[i], target[i]) * row_weight / divisor(target, masked);
        }
        for (std::size_t op = program_.ops.size(); op-- > 0;) {
            if (op == program_.code_op && program_.penalty) add_code_l1(pass.y[op + 1], row_weight, dy);
            if (const auto* const top = std::get_if<isthmus::TopK>(&program_.ops[op])) {
                Doubles dx(dy.size());
                for (const std::size_t i : largest(pass.z[op], top->k)) dx[i] = dy[i];
                dy = std::move(dx);
                continue;
            }
            if (std::holds_alternative<isthmus::GaussianSample>(program_.ops[op])) {
                dy = drawn_backward(pass.z[op], pass.eps, dy, row_weight);
                continue;
            }
            const auto [weight, bias, transposed, activation] = dense(op);
            const bool at_logits = op + 1 == program_.ops.size() && from_logits(program_.loss);
            Doubles dz = dy;
            for (std::size_t o = 0; o < dz.size(); ++o) {
                if (!at_logits) dz[o] *= derivative(activation, pass.z[op][o]);
            }
            dy.assign(pass.y[op].size(), 0.0);
            for (std::size_t o = 0; o < dz.size(); ++o) {
                gradient[static_cast<std::size_t>(bias.offset) + o] += dz[o];
                for (std::size_t i = 0; i < dy.size(); ++i) {
                    const std::size_t at = transposed ? index(weight, i, o) : index(weight, o, i);
                    gradient[at] += dz[o] * pass.y[op][i];
                    dy[i] += dz[o] * params[at];
                }
            }
        }
    }

private:
    struct Layer {
        isthmus::Parameter weight, bias;
        bool transposed;
        isthmus::Activation activation;
    };

    void add_code_l1(const Doubles& code, double row_weight, Doubles& dy) const {
        if (program_.penalty->kind != isthmus::PenaltyKind::code_l1) return;
        for (std::size_t i = 0; i < code.size(); ++i) {
            const double sign = code[i] > 0.0 ? 1.0 : code[i] < 0.0 ? -1.0 : 0.0;
            dy[i] += row_weight * program_.penalty->weight * sign / static_cast<double>(code.size());
        }
    }

    static double divisor(std::span<const double> target, bool masked) {
        const auto counts = [&](double t) { return !masked || !std::isnan(t); };
        return static_cast<double>(std::max<std::ptrdiff_t>(1, std::count_if(target.begin(), target.end(), counts)));
    }

    Doubles drawn_backward(const Doubles& x, const Doubles& eps, const Doubles& dy, double row_weight) const {
        const std::size_t width = dy.size();
        const double share = row_weight * program_.penalty->weight / static_cast<double>(program_.n_features);
        Doubles dx(2 * width);
        for (std::size_t i = 0; i < width; ++i) {
            const double deviation = std::exp(0.5 * x[width + i]);
            dx[i] = dy[i] + share * x[i];
            dx[width + i] =
                0.5 * (dy[i] * deviation * (eps.empty() ? 0.0 : eps[i]) + share * (deviation * deviation - 1.0));
        }
        return dx;
    }

    Layer dense(std::size_t op) const {
        const auto& dense = std::get<isthmus::Dense>(program_.ops[op]);
        return {program_.parameters[dense.weight], program_.parameters[dense.bias], dense.transposed, dense.activation};
    }

    static std::size_t index(const isthmus::Parameter& weight, std::size_t row, std::size_t col) {
        return static_cast<std::size_t>(weight.offset) + row * static_cast<std::size_t>(weight.cols) + col;
    }

    const Doubles& output(const Pass& pass) const { return from_logits(program_.loss) ? pass.z.back() : pass.y.back(); }

    const isthmus::Program& program_;
};

}  // namespace reference
