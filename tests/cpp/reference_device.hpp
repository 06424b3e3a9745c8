// SPDX-License-Identifier: Apache-2.0
// The contract of device/contract.hpp in its plainest form, on the network of reference.hpp: what the trainer is tested
// with when no real device is asked, and what real devices are compared with. Sums and updates are in double; the
// state, and the gradient that a reducer sees, are floats.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/contract.hpp"
#include "math/philox.hpp"
#include "reference.hpp"

namespace reference {

using isthmus::Error;
using isthmus::ErrorKind;
using isthmus::MatrixView;
using isthmus::MutableMatrixView;
using isthmus::Optimizer;
using isthmus::RowSource;
using isthmus::Status;
using isthmus::Totals;

inline Doubles widen(const float* values, std::int64_t n) { return {values, values + n}; }
inline Doubles widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// eps of the code, where the program draws it.
inline Doubles draw(const isthmus::Program& program, const isthmus::Noise& noise, std::int64_t row) {
    if (!std::holds_alternative<isthmus::GaussianSample>(program.ops[program.code_op])) return {};
    Doubles eps(static_cast<std::size_t>(program.width(program.code_op + 1)));
    for (std::size_t i = 0; i < eps.size(); ++i) {
        const auto counter =
            isthmus::math::row_counter(isthmus::math::Purpose::sample, static_cast<std::uint32_t>(i / 4),
                                       static_cast<std::uint64_t>(row), noise.epoch);
        eps[i] = isthmus::math::gaussians<float>(isthmus::math::philox(counter, noise.seed)).value[i % 4];
    }
    return eps;
}

class ReferenceModel final : public isthmus::Model {
public:
    explicit ReferenceModel(const isthmus::Program& program) : program_(program), network_(program_) { write({}); }

    void write(const isthmus::Tensors& tensors) override {
        state_ = tensors;
        for (auto* buffer : {&state_.params, &state_.m, &state_.v}) {
            buffer->resize(static_cast<std::size_t>(program_.flat_size));
        }
    }
    void read(isthmus::Tensors& tensors) const override { tensors = state_; }
    void write_parameters(const std::vector<float>& params) override { state_.params = params; }
    void read_parameters(std::vector<float>& params) const override { params = state_.params; }
    void keep() override { kept_ = state_; }
    void rollback() override { state_ = kept_; }

    Totals train(const RowSource& source, const isthmus::StepRange& range, const isthmus::UpdateRule& rule,
                 isthmus::Reducer* reducer, isthmus::Stop& stop) override {
        Totals totals;
        totals.loss_sum = range.loss_sum;
        totals.weight_sum = range.weight_sum;
        totals.penalty_sum = range.penalty_sum;
        for (std::int64_t s = 0; s < range.steps(); ++s) {
            const auto begin = static_cast<std::size_t>(s * range.batch_size);
            const auto count = std::min(static_cast<std::size_t>(range.batch_size), range.rows.size() - begin);
            std::vector<float> gradient(state_.params.size());
            Totals step = sum_gradient(source, range.rows.subspan(begin, count), range.noise, gradient);
            if (reducer) reducer->reduce(gradient, step.loss_sum, step.weight_sum, step.penalty_sum);
            // A batch without weight says nothing: no update, but the step counts.
            if (step.weight_sum > 0.0) {
                const double learning_rate = range.learning_rates[static_cast<std::size_t>(s)];
                update(rule, learning_rate, static_cast<double>(range.first_step + s + 1), gradient, step.weight_sum);
            }
            if (!std::isfinite(step.loss_sum + step.penalty_sum) || !finite(state_.params) || !finite(state_.v)) {
                totals.status = Status::diverged;
                return totals;
            }
            totals.loss_sum += step.loss_sum;
            totals.weight_sum += step.weight_sum;
            totals.penalty_sum += step.penalty_sum;
            ++totals.steps_done;
            if (s + 1 < range.steps() && stop.requested()) {
                totals.status = Status::stopped;
                return totals;
            }
        }
        return totals;
    }

    Totals gradient(const RowSource& source, std::span<float> flat) const override {
        std::vector<std::int64_t> rows(static_cast<std::size_t>(source.rows()));
        for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
        Totals totals = sum_gradient(source, rows, {}, flat);
        totals.steps_done = 1;
        return totals;
    }

    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const override {
        bool all_finite = true;
        for (std::int64_t r = 0; r < rows.rows; ++r) {
            for (std::int64_t i = 0; i < rows.cols; ++i) all_finite &= std::isfinite(rows.row(r)[i]);
            const Pass pass = network_.forward(widen(state_.params), widen(rows.row(r), rows.cols), first_op, last_op);
            narrow(pass.y.back(), out.row(r));
        }
        return all_finite;
    }

    void row_errors(const RowSource& source, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                    isthmus::Memory /*memory*/) const override {
        const Doubles params = widen(state_.params);
        for (std::int64_t r = 0; r < source.rows(); ++r) {
            const Pass pass = network_.forward(params, widen(source.inputs.row(r), source.inputs.cols));
            const Doubles target = target_of(source, r);
            errors[static_cast<std::size_t>(r)] = network_.row_error(pass, target, source.masked);
            if (per_feature) narrow(network_.element_losses(pass, target), per_feature->row(r));
        }
    }

private:
    static bool finite(const std::vector<float>& values) {
        return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
    }

    static void narrow(const Doubles& values, float* to) {
        std::transform(values.begin(), values.end(), to, [](double value) { return static_cast<float>(value); });
    }

    static Doubles target_of(const RowSource& source, std::int64_t row) {
        const MatrixView targets = source.targets.value_or(source.inputs);
        return widen(targets.row(row), targets.cols);
    }

    Totals sum_gradient(const RowSource& source, std::span<const std::int64_t> rows, const isthmus::Noise& noise,
                        std::span<float> flat) const {
        const Doubles params = widen(state_.params);
        Doubles sum(flat.size());
        Totals totals;
        for (const std::int64_t row : rows) {
            std::vector<float> input(source.inputs.row(row), source.inputs.row(row) + source.inputs.cols);
            if (noise.amount > 0.0F) corrupt(noise, source.key(row), input);
            const Pass pass = network_.forward(params, widen(input), draw(program_, noise, source.key(row)));
            const Doubles target = target_of(source, row);
            const double weight = source.weight(row);
            totals.penalty_sum += weight * network_.penalty(pass);
            totals.loss_sum += weight * network_.row_error(pass, target, source.masked);
            totals.weight_sum += weight;
            network_.backward(params, pass, target, weight, sum, source.masked);
        }
        narrow(sum, flat.data());
        return totals;
    }

    static void corrupt(const isthmus::Noise& noise, std::int64_t row, std::vector<float>& input) {
        for (std::size_t i = 0; i < input.size(); ++i) {
            const auto counter = isthmus::math::noise_counter(static_cast<std::uint32_t>(i / 4),
                                                              static_cast<std::uint64_t>(row), noise.epoch);
            const auto random = isthmus::math::philox(counter, noise.seed);
            if (noise.kind == isthmus::NoiseKind::gaussian) {
                input[i] += noise.amount * isthmus::math::gaussians<float>(random).value[i % 4];
            } else if (isthmus::math::uniforms<float>(random).value[i % 4] < noise.amount) {
                input[i] = 0.0F;
            }
        }
    }

    void update(const isthmus::UpdateRule& rule, double learning_rate, double t, const std::vector<float>& sum,
                double weight_sum) {
        Doubles gradient = widen(sum);
        double square = 0.0;
        for (double& g : gradient) {
            g /= weight_sum;
            square += g * g;
        }
        if (rule.clip_norm && std::sqrt(square) > *rule.clip_norm) {
            for (double& g : gradient) g *= *rule.clip_norm / std::sqrt(square);
        }
        for (std::size_t i = 0; i < gradient.size(); ++i) {
            double p = state_.params[i];
            double g = gradient[i];
            double m = state_.m[i];
            double v = state_.v[i];
            if (rule.optimizer == Optimizer::adamw) {
                p -= learning_rate * rule.weight_decay * p;
            } else {
                g += rule.weight_decay * p;
            }
            if (rule.optimizer == Optimizer::sgd) {
                m = rule.momentum * m + g;
                p -= learning_rate * m;
            } else {
                m = rule.beta_1 * m + (1.0 - rule.beta_1) * g;
                v = rule.beta_2 * v + (1.0 - rule.beta_2) * g * g;
                const double m_hat = m / (1.0 - std::pow(rule.beta_1, t));
                const double v_hat = v / (1.0 - std::pow(rule.beta_2, t));
                p -= learning_rate * m_hat / (std::sqrt(v_hat) + rule.epsilon);
            }
            state_.params[i] = static_cast<float>(p);
            state_.m[i] = static_cast<float>(m);
            state_.v[i] = static_cast<float>(v);
        }
    }

    isthmus::Program program_;
    Network network_;  // of program_
    isthmus::Tensors state_, kept_;
};

class ReferenceDevice final : public isthmus::Device {
public:
    std::string name() const override { return "reference"; }
    std::unique_ptr<isthmus::Model> compile(const isthmus::Program& program,
                                            const isthmus::CompileOptions&) const override {
        return std::make_unique<ReferenceModel>(program);
    }
    const isthmus::Kernels& kernels() const override {
        throw Error(ErrorKind::runtime, "the reference device has no single kernels");
    }
};

}  // namespace reference
