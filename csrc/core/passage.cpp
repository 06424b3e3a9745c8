// SPDX-License-Identifier: Apache-2.0
#include "core/passage.hpp"

#include <algorithm>
#include <cmath>

#include "core/checks.hpp"

namespace isthmus {
namespace {

// The rows to convert: a row repeated is converted once.
std::int64_t distinct_rows(const Table& table, std::span<const std::int64_t> row_numbers) {
    if (!row_numbers.empty()) return static_cast<std::int64_t>(row_numbers.size());
    return table.row_bytes == 0 ? 1 : table.rows;
}

MatrixView fill_there(const Table& table, std::span<const std::int64_t> row_numbers, const std::string& name,
                      std::int64_t first_row, std::shared_ptr<void>& to) {
    MatrixView rows = *table.view();
    if (!row_numbers.empty()) {
        const auto n = static_cast<std::int64_t>(row_numbers.size());
        const std::int64_t stride = device_stride(rows.cols);
        to = table.there->allocate(n * stride * std::int64_t{sizeof(float)});
        const MutableMatrixView gathered{static_cast<float*>(to.get()), n, rows.cols, stride, Memory::device};
        table.there->gather(rows, row_numbers, gathered);
        rows = gathered;
    }
    if (auto at = find_non_finite(rows, table.there)) {
        if (!row_numbers.empty()) at->row = row_numbers[static_cast<std::size_t>(at->row)];
        refuse_non_finite(table, *at, name, first_row);
    }
    return rows;
}

MatrixView fill(const Table& table, std::span<const std::int64_t> row_numbers, const Passage& passage,
                const std::string& name, std::int64_t first_row, std::vector<float>& to,
                std::shared_ptr<void>& to_there) {
    if (table.memory == Memory::device) return fill_there(table, row_numbers, name, first_row, to_there);
    const std::int64_t rows = distinct_rows(table, row_numbers);
    to.resize(static_cast<std::size_t>(rows * table.cols));
    const MutableMatrixView view{to.data(), rows, table.cols, table.cols};
    const Missing missing = passage.missing();
    const auto at = row_numbers.empty() ? convert(table, 0, passage.scaling, view, missing)
                                        : gather(table, row_numbers, passage.scaling, view, missing);
    if (at) refuse_non_finite(table, *at, name, first_row);
    return view;
}

// As many rows as were asked for, when one stands for all of them.
MatrixView repeated(MatrixView view, std::int64_t rows) {
    return {view.data, rows, view.cols, view.rows == rows ? view.stride : 0, view.memory};
}

const float* weights_of(const Samples& samples, std::span<const std::int64_t> row_numbers, Converted& to) {
    if (samples.weights == nullptr || row_numbers.empty()) return samples.weights;
    to.weights.clear();
    for (const std::int64_t row : row_numbers) to.weights.push_back(samples.weights[row]);
    return to.weights.data();
}

// What a missing value of the column enters as, in the device's space.
float filling(const Passage& passage, std::size_t col) {
    if (passage.means->empty()) return 0.0F;
    const double mean = (*passage.means)[col];
    if (passage.scaling == nullptr) return static_cast<float>(mean);
    return static_cast<float>((mean - passage.scaling->shift[col]) / passage.scaling->scale[col]);
}

void fill_missing(const Passage& passage, MutableMatrixView inputs, std::vector<float>& fillings) {
    fillings.clear();
    for (std::size_t col = 0; col < static_cast<std::size_t>(inputs.cols); ++col) {
        fillings.push_back(filling(passage, col));
    }
    for (std::int64_t r = 0; r < inputs.rows; ++r) {
        float* const row = inputs.row(r);
        for (std::size_t col = 0; col < fillings.size(); ++col) {
            row[col] = std::isnan(row[col]) ? fillings[col] : row[col];
        }
    }
}

// Rows without an observed target lose their weight.
void weigh(RowSource& source, std::vector<float>& weights) {
    for (std::int64_t r = 0; r < source.rows(); ++r) {
        if (any_observed(*source.targets, r)) continue;
        if (weights.empty() || source.weights != weights.data()) {
            weights.assign(static_cast<std::size_t>(source.rows()), 1.0F);
            if (source.weights != nullptr) std::copy_n(source.weights, weights.size(), weights.begin());
            source.weights = weights.data();
        }
        weights[static_cast<std::size_t>(r)] = 0.0F;
    }
}

[[noreturn]] void refuse_target(const Table& table, Position at, const std::string& name, std::int64_t first_row) {
    throw Error(ErrorKind::value, name + "[" + std::to_string(first_row + at.row) + ", " + std::to_string(at.col) +
                                      "] is " + table.text(at) + "; loss=\"bce\" needs values in [0, 1]");
}

}  // namespace

Samples Samples::slice(std::int64_t first, std::int64_t count) const {
    Samples part(inputs.slice(first, count), std::nullopt, weights ? weights + first : nullptr);
    if (targets) part.targets = targets->slice(first, count);
    return part;
}

std::optional<RowSource> Passage::in_place(const Samples& samples, const RowNames* names) const {
    if (scaling != nullptr) return std::nullopt;
    const std::optional<MatrixView> inputs = samples.inputs.view();
    const std::optional<MatrixView> targets = samples.targets ? samples.targets->view() : std::nullopt;
    if (!inputs || (samples.targets && !targets)) return std::nullopt;
    if (names != nullptr) {
        const MatrixView compared = targets.value_or(*inputs);
        // What lies within [0, 1] is finite: one pass over the data instead of two.
        const Table& compared_table = targets ? *samples.targets : samples.inputs;
        const auto outside =
            loss == Loss::bce ? find_outside_bce(compared, Missing::error, compared_table.there) : std::nullopt;
        const bool in_range = loss == Loss::bce && !outside;
        // False where a value may be missing: `convert` looks again.
        const auto is_whole = [&](const Table& table, MatrixView view, const char* name) {
            const auto at = find_non_finite(view, table.there);
            if (at && means == nullptr) refuse_non_finite(table, *at, name, names->first_row);
            return !at;
        };
        if ((targets || !in_range) && !is_whole(samples.inputs, *inputs, names->inputs)) return std::nullopt;
        if (targets && !in_range && !is_whole(*samples.targets, *targets, names->targets)) return std::nullopt;
        if (outside) {
            refuse_target(compared_table, *outside, targets ? names->targets : names->inputs, names->first_row);
        }
    }
    return RowSource{*inputs, targets, samples.weights};
}

std::optional<RowSource> Passage::sparse(const Samples& samples, std::span<const std::int64_t> row_numbers,
                                         const RowNames& names, Converted& to) const {
    const Table& table = samples.inputs;
    if (!keeps_sparse(samples)) return std::nullopt;
    if (const auto at = to_csr(table, row_numbers, scaling, to.sparse, missing())) {
        refuse_non_finite(table, *at, names.inputs, names.first_row);
    }
    const auto stored = static_cast<std::int64_t>(to.sparse.values.size());
    const MatrixView values{to.sparse.values.data(), 1, stored, stored};
    if (means != nullptr && find_nan(values)) return std::nullopt;
    const auto outside = loss == Loss::bce ? find_outside_bce(values) : std::nullopt;
    if (outside && clip_targets) return std::nullopt;  // what is compared with is not what comes in
    if (outside) {
        const auto& offsets = to.sparse.offsets;
        const auto row = std::upper_bound(offsets.begin(), offsets.end(), outside->col) - offsets.begin() - 1;
        const Position at{row_numbers.empty() ? row : row_numbers[static_cast<std::size_t>(row)],
                          to.sparse.columns[static_cast<std::size_t>(outside->col)]};
        refuse_target(table, at, names.inputs, names.first_row);
    }
    const auto rows = static_cast<std::int64_t>(to.sparse.offsets.size()) - 1;
    RowSource source{{nullptr, rows, table.cols, 0}, {}, weights_of(samples, row_numbers, to)};
    source.sparse = to.sparse.view();
    return source;
}

RowSource Passage::convert(const Samples& samples, std::span<const std::int64_t> row_numbers, const RowNames& names,
                           Converted& to) const {
    const std::int64_t rows = row_numbers.empty() ? samples.rows() : static_cast<std::int64_t>(row_numbers.size());
    const MatrixView inputs =
        fill(samples.inputs, row_numbers, *this, names.inputs, names.first_row, to.inputs, to.inputs_there);
    RowSource source{repeated(inputs, rows), {}, weights_of(samples, row_numbers, to)};
    std::optional<MatrixView> targets;
    if (samples.targets) {
        targets =
            fill(*samples.targets, row_numbers, *this, names.targets, names.first_row, to.targets, to.targets_there);
    }
    const auto as_targets = [&] {
        to.targets = to.inputs;
        targets = MatrixView{to.targets.data(), inputs.rows, inputs.cols, inputs.stride};
    };
    if (means != nullptr && find_nan(inputs)) {
        if (!targets) as_targets();
        fill_missing(*this, {to.inputs.data(), inputs.rows, inputs.cols, inputs.stride}, to.fillings);
    }
    const Table& compared = samples.targets ? *samples.targets : samples.inputs;
    const auto outside =
        loss == Loss::bce ? find_outside_bce(targets.value_or(inputs), missing(), compared.there) : std::nullopt;
    if (outside && !clip_targets) {
        const auto row = static_cast<std::size_t>(outside->row);
        const Position at{row_numbers.empty() ? outside->row : row_numbers[row], outside->col};
        refuse_target(compared, at, samples.targets ? names.targets : names.inputs, names.first_row);
    }
    if (outside) {
        if (!targets) as_targets();
        for (float& value : to.targets) value = std::clamp(value, 0.0F, 1.0F);  // a NaN stays one
    }
    if (targets) source.targets = repeated(*targets, rows);
    source.masked = means != nullptr && targets && find_nan(*targets);
    if (source.masked) weigh(source, to.weights);
    return source;
}

bool any_observed(MatrixView targets, std::int64_t row) {
    const float* const values = targets.row(row);
    return std::any_of(values, values + targets.cols, [](float value) { return !std::isnan(value); });
}

}  // namespace isthmus
