// SPDX-License-Identifier: Apache-2.0
#include "core/evaluation.hpp"

#include <algorithm>
#include <span>
#include <vector>

namespace isthmus {
namespace {

// Enough rows to fill every thread's tiles, few enough that a stop is seen within some 10 ms (784-32-784, one core).
constexpr std::int64_t kBlockRows = 4096;

MatrixView row_range(MatrixView rows, std::int64_t first, std::int64_t count) {
    return {rows.row(first), count, rows.cols, rows.stride, rows.memory};
}

}  // namespace

RowSource slice(const RowSource& source, std::int64_t first, std::int64_t count) {
    RowSource part{row_range(source.inputs, first, count), {}, nullptr};
    if (source.targets) part.targets = row_range(*source.targets, first, count);
    if (source.weights) part.weights = source.weights + first;
    part.resident = source.resident;
    part.resident_row = source.resident_row + first;
    return part;
}

std::optional<double> evaluate_until(const Model& model, const RowSource& source, Stop& stop) {
    std::vector<double> errors(static_cast<std::size_t>(std::min(kBlockRows, source.rows())));
    double loss_sum = 0.0;
    double weight_sum = 0.0;
    for (std::int64_t first = 0; first < source.rows(); first += kBlockRows) {
        if (stop.requested()) return std::nullopt;
        const std::int64_t count = std::min(kBlockRows, source.rows() - first);
        const RowSource part = slice(source, first, count);
        model.row_errors(part, std::span(errors).first(static_cast<std::size_t>(count)), std::nullopt);
        for (std::int64_t i = 0; i < count; ++i) {
            const double weight = part.weight(i);
            loss_sum += weight * errors[static_cast<std::size_t>(i)];
            weight_sum += weight;
        }
    }
    return loss_sum / weight_sum;
}

}  // namespace isthmus
