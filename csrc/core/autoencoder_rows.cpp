// SPDX-License-Identifier: Apache-2.0
// What is computed from rows and changes nothing: codes, reconstructions, errors, gradients. Rows that no device reads
// as they are go there in blocks; a row's result does not depend on the others.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "core/autoencoder.hpp"
#include "core/checks.hpp"
#include "core/detector.hpp"
#include "core/draw.hpp"
#include "core/marginals.hpp"
#include "core/row_feed.hpp"
#include "core/scaled_weights.hpp"
#include "math/registry.hpp"

namespace isthmus {
namespace {

// Elements converted at a time: 4 MiB of float32, small enough for a cache and large enough for every thread.
constexpr std::int64_t kBlock = std::int64_t{1} << 20;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void check_shape(MatrixView out, std::int64_t rows, std::int64_t cols) {
    if (out.rows == rows && out.cols == cols) return;
    throw Error(ErrorKind::value, "the output has shape (" + std::to_string(out.rows) + ", " +
                                      std::to_string(out.cols) + "); (" + std::to_string(rows) + ", " +
                                      std::to_string(cols) + ") is needed");
}

std::string fitted_with(std::int64_t n_features) {
    return "features, but this model was fitted with " + std::to_string(n_features);
}

MutableMatrixView row_range(MutableMatrixView view, std::int64_t first, std::int64_t count) {
    return {view.row(first), count, view.cols, view.stride, view.memory};
}

std::int64_t block_rows(std::int64_t cols) { return std::max<std::int64_t>(1, kBlock / cols); }

// Calls body(source, first) for block after block of the rows, converted.
template <class Body>
void for_each_converted_block(const Samples& samples, const Passage& passage, const RowNames& names, Reserve* reserve,
                              Body&& body) {
    const std::int64_t most = block_rows(samples.inputs.cols);
    Converted own;
    Converted& converted = reserve != nullptr ? reserve->converted : own;
    for (std::int64_t first = 0; first < samples.rows(); first += most) {
        RowNames here = names;
        here.first_row += first;
        const std::int64_t count = std::min(most, samples.rows() - first);
        body(passage.convert(samples.slice(first, count), {}, here, converted), first);
    }
}

// Calls body(source, first) for the rows as a device reads them: all at once where they lie so, else block by block.
template <class Body>
void for_each_block(const Samples& samples, const Passage& passage, const RowNames& names, Reserve* reserve,
                    Body&& body) {
    if (const auto source = passage.in_place(samples, &names)) {
        body(*source, std::int64_t{0});
        return;
    }
    for_each_converted_block(samples, passage, names, reserve, body);
}

// A device gives 0 for rows of which nothing was observed.
void mark_unobserved(MatrixView targets, std::span<double> errors) {
    for (std::size_t r = 0; r < errors.size(); ++r) {
        if (errors[r] == 0.0 && !any_observed(targets, static_cast<std::int64_t>(r))) errors[r] = kNan;
    }
}

// weighted_quantile without the NaNs.
double quantile_of_numbers(std::vector<double> values, std::span<const float> weights, double q) {
    if (std::none_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) {
        return weighted_quantile(values, weights, q);
    }
    std::vector<float> their_weights;
    std::size_t count = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) continue;
        their_weights.push_back(weights.empty() ? 1.0F : weights[i]);
        values[count++] = values[i];
    }
    values.resize(count);
    return weighted_quantile(values, their_weights, q);
}

}  // namespace

Reserve Autoencoder::reserve(std::int64_t max_rows, int n_threads) const {
    Reserve reserve;
    reserve.max_rows = max_rows;
    reserve.runner = model_->runner(max_rows, n_threads);
    const auto values = [&](std::int64_t cols) {
        return static_cast<std::size_t>(std::min(max_rows, block_rows(cols)) * cols);
    };
    reserve.reconstruction.reserve(values(n_features_));
    if (configuration_.scaling || configuration_.missing == Missing::mask) {
        reserve.converted.inputs.reserve(values(n_features_));
        reserve.converted.targets.reserve(values(n_features_));
    }
    if (configuration_.missing == Missing::mask) {
        reserve.converted.fillings.reserve(static_cast<std::size_t>(n_features_));
        reserve.converted.weights.reserve(static_cast<std::size_t>(std::min(max_rows, block_rows(n_features_))));
    }
    return reserve;
}

Passage Autoencoder::passage() const {
    const bool clip = configuration_.scaling == ScalingKind::minmax;
    const bool masks = configuration_.missing == Missing::mask;
    return {program_.loss, scaling_.empty() ? nullptr : &scaling_, clip, masks ? &means_ : nullptr};
}

// Calls body(r, y, target) for each row of the source, in scaled space, with what it is compared with.
template <class Body>
void Autoencoder::for_each_reconstruction(const RowSource& source, Reserve* reserve, Body&& body) const {
    const std::int64_t most = block_rows(n_features_);
    std::vector<float> own;
    std::vector<float>& y = reserve != nullptr ? reserve->reconstruction : own;
    y.resize(static_cast<std::size_t>(std::min(most, source.rows()) * n_features_));
    for (std::int64_t first = 0; first < source.rows(); first += most) {
        const RowSource part = slice(source, first, std::min(most, source.rows() - first));
        const MutableMatrixView out{y.data(), part.rows(), n_features_, n_features_};
        run_on_device(0, program_.ops.size(), part.inputs, out, reserve);
        for (std::int64_t r = 0; r < part.rows(); ++r) {
            body(first + r, out.row(r), part.targets.value_or(part.inputs).row(r));
        }
    }
}

void Autoencoder::check_where(const Table& rows, const char* name) const {
    if (rows.memory == Memory::host || reads_device_rows()) return;
    throw Error(ErrorKind::type, std::string(name) +
                                     " is in a device's memory; with scaling or missing values, and for a detector, "
                                     "rows must be the host's");
}

bool Autoencoder::reads_device_rows() const {
    return !configuration_.scaling && configuration_.kind != ModelKind::anomaly_detector &&
           configuration_.missing == Missing::error;
}

void Autoencoder::check_inputs(const Table& x) const {
    check_where(x, "X");
    if (x.rows >= 1 && x.cols == n_features_) return;  // no sentence is put together for the many calls that are right
    check_shape_of(x.rows, x.cols, n_features_, fitted_with(n_features_), "X");
}

void Autoencoder::check_samples(const Samples& samples, const RowNames& names) const {
    const std::string width_of = fitted_with(n_features_);
    check_shape_of(samples.rows(), samples.inputs.cols, n_features_, width_of, names.inputs);
    if (samples.targets) {
        check_shape_of(samples.targets->rows, samples.targets->cols, n_features_, width_of, names.targets);
        if (samples.targets->rows != samples.rows()) {
            throw Error(ErrorKind::value, std::string(names.targets) + " has " + std::to_string(samples.targets->rows) +
                                              " rows, but " + names.inputs + " has " + std::to_string(samples.rows()));
        }
    }
    check_where(samples.inputs, names.inputs);
    if (samples.targets) check_where(*samples.targets, names.targets);
    if (samples.weights) check_weights(samples.weights, samples.rows(), names.weights);
}

bool Autoencoder::run_on_device(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out,
                                Reserve* reserve) const {
    if (reserve != nullptr && reserve->runner) return reserve->runner->run(first_op, last_op, rows, out);
    return model_->run(first_op, last_op, rows, out);
}

void Autoencoder::run(std::size_t first_op, std::size_t last_op, const Table& rows, MutableMatrixView out,
                      const RowNames& names, Reserve* reserve) const {
    const bool scales = first_op == 0 && !scaling_.empty();
    const bool unscales = last_op == program_.ops.size() && !scaling_.empty();
    const auto run_block = [&](const RowSource& source, std::int64_t first) {
        const MutableMatrixView part = row_range(out, first, source.rows());
        if (!run_on_device(first_op, last_op, source.inputs, part, reserve)) return false;
        if (unscales) unscale(scaling_, part);
        return true;
    };
    // Nobody has looked at these values yet: the device does, while it reads them.
    const bool masks = first_op == 0 && configuration_.missing == Missing::mask;
    const Passage passage{Loss::mse, scales ? &scaling_ : nullptr, false, masks ? &means_ : nullptr};
    const Samples samples{rows, std::nullopt, nullptr};
    const auto source = passage.in_place(samples, nullptr);
    if (source && run_block(*source, 0)) return;
    if (source && !masks) {
        if (const auto at = find_non_finite(source->inputs, rows.there))
            refuse_non_finite(rows, *at, names.inputs, names.first_row);
        throw Error(ErrorKind::runtime, std::string(names.inputs) + " was changed by another thread while it was read");
    }
    for_each_converted_block(samples, passage, names, reserve, run_block);
}

void Autoencoder::encode(const Table& x, MutableMatrixView code, Reserve* reserve) const {
    check_inputs(x);
    check_shape(code, x.rows, code_size());
    run(0, program_.code_op + 1, x, code, kRowNames, reserve);
}

void Autoencoder::draw_codes(const Table& x, std::uint64_t seed, std::int64_t first_row, MutableMatrixView code) const {
    check_variational();
    check_inputs(x);
    if (x.memory != Memory::host)
        throw Error(ErrorKind::type, "X is in a device's memory; codes are drawn of the host's");
    check_shape(code, x.rows, code_size());
    const std::int64_t width = code_size();
    const std::int64_t most = std::max<std::int64_t>(1, kBlock / std::max(n_features_, 2 * width));
    std::vector<float> parameters(static_cast<std::size_t>(std::min(most, x.rows) * 2 * width));
    for (std::int64_t first = 0; first < x.rows; first += most) {
        const std::int64_t count = std::min(most, x.rows - first);
        const MutableMatrixView of_rows{parameters.data(), count, 2 * width, 2 * width};
        RowNames names = kRowNames;
        names.first_row = first_row + first;
        run(0, program_.code_op, x.slice(first, count), of_rows, names, nullptr);
        draw_gaussian_codes(of_rows, seed, first_row + first, row_range(code, first, count));
    }
}

void Autoencoder::draw_codes(std::uint64_t seed, MutableMatrixView code) const {
    check_variational();
    check_shape(code, code.rows, code_size());
    draw_gaussian_codes({}, seed, 0, code);
}

void Autoencoder::check_variational() const {
    if (configuration_.kind == ModelKind::variational_autoencoder) return;
    throw Error(ErrorKind::runtime, "codes are drawn by a variational autoencoder alone");
}

void Autoencoder::decode(const Table& code, MutableMatrixView x, Reserve* reserve) const {
    check_where(code, "Z");
    if (code.rows < 1 || code.cols != code_size()) {  // as check_inputs
        check_shape_of(code.rows, code.cols, code_size(),
                       "columns, but this model's code has " + std::to_string(code_size()), "Z");
    }
    check_shape(x, code.rows, n_features_);
    run(program_.code_op + 1, program_.ops.size(), code, x, {"Z", "", ""}, reserve);
}

void Autoencoder::reconstruct(const Table& x, MutableMatrixView y, Reserve* reserve) const {
    check_inputs(x);
    check_shape(y, x.rows, n_features_);
    run(0, program_.ops.size(), x, y, kRowNames, reserve);
}

void Autoencoder::reconstruction_error(const Table& x, std::span<double> errors,
                                       std::optional<MutableMatrixView> per_feature, Units units,
                                       std::int64_t first_row, Reserve* reserve) const {
    const Samples samples{x, std::nullopt, nullptr};
    RowNames names = kRowNames;
    names.first_row = first_row;
    check_inputs(x);
    check_shape({nullptr, static_cast<std::int64_t>(errors.size()), 1, 1}, x.rows, 1);
    if (per_feature) check_shape(*per_feature, x.rows, n_features_);
    const bool in_input_units = units == Units::input && !scaling_.empty();
    if (in_input_units && program_.loss == Loss::bce) {
        throw Error(ErrorKind::value, "units must be \"scaled\" with loss=\"bce\"; got \"input\"");
    }
    for_each_block(samples, passage(), names, reserve, [&](const RowSource& source, std::int64_t first) {
        const auto part = errors.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(source.rows()));
        std::optional<MutableMatrixView> elements;
        if (per_feature) elements = row_range(*per_feature, first, source.rows());
        if (!in_input_units) {
            if (reserve != nullptr && reserve->runner && x.memory == Memory::host) {
                reserve->runner->row_errors(source, part, elements);
            } else {
                model_->row_errors(source, part, elements, x.memory);
            }
            if (source.masked) mark_unobserved(*source.targets, part);
            return;
        }
        math::visit(program_.loss, [&]<class L>(L) {
            for_each_reconstruction(source, reserve, [&](std::int64_t r, const float* y, const float* target) {
                double sum = 0.0;
                std::int64_t observed = 0;
                for (std::int64_t c = 0; c < n_features_; ++c) {
                    const double d = static_cast<double>(y[c]) - static_cast<double>(target[c]);
                    float value = 0.0F;
                    float gradient = 0.0F;
                    L::evaluate(static_cast<float>(d * scaling_.scale[static_cast<std::size_t>(c)]), 0.0F, value,
                                gradient);
                    if (elements) elements->row(r)[c] = value;
                    if (source.masked && std::isnan(target[c])) continue;
                    sum += static_cast<double>(value);
                    ++observed;
                }
                part[static_cast<std::size_t>(r)] = sum / static_cast<double>(observed);
            });
        });
    });
}

void Autoencoder::anomaly_scores(const Table& x, std::span<double> scores, std::optional<MutableMatrixView> per_feature,
                                 Reserve* reserve) const {
    if (calibration_.empty()) {
        throw Error(ErrorKind::runtime, "the detector is not calibrated: it was not trained since it got its weights");
    }
    check_inputs(x);
    check_shape({nullptr, static_cast<std::int64_t>(scores.size()), 1, 1}, x.rows, 1);
    if (per_feature) check_shape(*per_feature, x.rows, n_features_);
    Passage open = passage();
    open.loss = Loss::mse;  // a difference has no bounds
    const Samples samples{x, std::nullopt, nullptr};
    for_each_block(samples, open, kRowNames, reserve, [&](const RowSource& source, std::int64_t first) {
        for_each_reconstruction(source, reserve, [&](std::int64_t r, const float* y, const float* target) {
            float* const elements = per_feature ? per_feature->row(first + r) : nullptr;
            scores[static_cast<std::size_t>(first + r)] = anomaly_score(calibration_.spread, y, target, elements);
        });
    });
}

void Autoencoder::p_values(const Table& x, std::span<double> p) const {
    if (!calibration_.empty() && calibration_.held_back.empty()) {
        throw Error(ErrorKind::value, "p_values needs rows held back in fit: calibration_fraction was 0");
    }
    anomaly_scores(x, p, std::nullopt);
    for (double& value : p) value = p_value(calibration_, value);
}

void Autoencoder::calibrate(RowFeed& rows, const Samples& all, const DetectorRows& chosen) {
    calibration_ = {};
    SpreadSum spread(n_features_);
    const std::int64_t most = block_rows(n_features_);
    const auto for_all = [&](auto&& body) {
        for (std::int64_t first = 0; first < rows.rows(); first += most) {
            const RowSource source = rows.block(first, std::min(most, rows.rows() - first));
            for_each_reconstruction(source, nullptr, [&](std::int64_t r, const float* y, const float* target) {
                body(static_cast<std::size_t>(first + r), y, target);
            });
        }
    };
    for_all([&](std::size_t row, const float* y, const float* target) {
        const float weight = chosen.weights()[row];
        if (weight > 0.0F) spread.add(y, target, static_cast<double>(weight));
    });
    Calibration fresh;
    fresh.spread = spread.result();
    if (fresh.empty()) return;  // the reconstruction is beyond float32
    std::vector<double> scores(static_cast<std::size_t>(rows.rows()));
    for_all([&](std::size_t row, const float* y, const float* target) {
        scores[row] = anomaly_score(fresh.spread, y, target, nullptr);
    });
    const std::span<const float> weights(all.weights, all.weights != nullptr ? scores.size() : 0);
    for (const std::int64_t row : chosen.held_back()) {
        const auto at = static_cast<std::size_t>(row);
        if (std::isnan(scores[at])) continue;  // nothing was observed
        if (weights.empty() || weights[at] > 0.0F) fresh.held_back.push_back(scores[at]);
    }
    fresh.offset = {quantile_of_numbers(std::move(scores), weights, configuration_.contamination)};
    std::sort(fresh.held_back.begin(), fresh.held_back.end());
    calibration_ = std::move(fresh);
}

double Autoencoder::evaluate(const Samples& samples) const {
    check_samples(samples, kRowNames);
    const ScaledWeights weighted(samples);
    RowFeed rows(weighted.samples(), passage(), kRowNames, RowFeed::Copy::blocks);
    return isthmus::evaluate(*model_, rows);
}

std::vector<float> Autoencoder::gradients(const Samples& samples) const {
    check_samples(samples, kRowNames);
    const ScaledWeights weighted(samples);
    RowFeed rows(weighted.samples(), passage(), kRowNames, RowFeed::Copy::whole);
    std::vector<float> flat(static_cast<std::size_t>(program_.flat_size));
    const Totals totals = model_->gradient(rows.block(0, samples.rows()), flat);
    if (totals.weight_sum == 0.0) refuse_unobserved(kRowNames.inputs);
    for (float& value : flat) value = static_cast<float>(value / totals.weight_sum);
    return flat;
}

}  // namespace isthmus
