// SPDX-License-Identifier: Apache-2.0
#include "core/row_feed.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

#include "core/checks.hpp"

namespace isthmus {
namespace {

// Elements of a stretch, 16 MiB of float32, in whole batches: enough to keep a device busy between two of them.
constexpr std::int64_t kStretch = std::int64_t{1} << 22;

MatrixView row_range(MatrixView rows, std::int64_t first, std::int64_t count) {
    return {rows.row(first), count, rows.cols, rows.stride, rows.memory};
}

// So many steps, at least one, have the elements of a stretch.
std::int64_t steps_a_stretch(std::int64_t cols, std::int64_t batch_size) {
    return std::max<std::int64_t>(1, kStretch / (cols * std::max<std::int64_t>(1, batch_size)));
}

bool has_holes(const RowSource& source) {
    return find_nan(source.inputs) || (source.targets && find_nan(*source.targets));
}

double bytes_of(const Table& table) {  // a row repeated is converted once
    return sizeof(float) * static_cast<double>(table.row_bytes == 0 ? 1 : table.rows) * static_cast<double>(table.cols);
}

bool copies_twice(const Samples& samples, const Passage& passage) {
    return !samples.targets && passage.may_make_targets();
}

double sparse_bytes(const Table& table) {
    constexpr double kEntry = sizeof(float) + sizeof(std::int32_t);
    if (!table.csr) return 0.0;
    return kEntry * static_cast<double>(table.csr->stored) + sizeof(std::int64_t) * static_cast<double>(table.rows + 1);
}

}  // namespace

RowSource slice(const RowSource& source, std::int64_t first, std::int64_t count) {
    RowSource part{row_range(source.inputs, first, count), {}, nullptr};
    if (source.targets) part.targets = row_range(*source.targets, first, count);
    if (source.weights) part.weights = source.weights + first;
    part.resident = source.resident;
    part.resident_row = source.resident_row + first;
    part.masked = source.masked;
    if (source.keys) part.keys = source.keys + first;
    return part;
}

double copy_bytes(const Samples& samples, const Passage& passage) {
    const auto source = passage.in_place(samples, nullptr);
    if (source && !(passage.means != nullptr && has_holes(*source))) return 0.0;
    return (copies_twice(samples, passage) ? 2.0 : 1.0) * bytes_of(samples.inputs) +
           (samples.targets ? bytes_of(*samples.targets) : 0.0);
}

double least_copy_bytes(const Samples& samples, const Passage& passage) {
    // Sparse rows with a missing value are made dense.
    const bool sparse = passage.keeps_sparse(samples) && passage.means == nullptr;
    const double whole = sparse ? sparse_bytes(samples.inputs) : copy_bytes(samples, passage);
    const double matrices = samples.targets || copies_twice(samples, passage) ? 2.0 : 1.0;
    return std::min(whole, matrices * sizeof(float) * static_cast<double>(kStretch));
}

double stream_bytes_of_steps(const Samples& samples, const Passage& passage, std::int64_t batch_size) {
    const std::int64_t cols = samples.inputs.cols;
    return stream_bytes(steps_a_stretch(cols, batch_size) * batch_size, cols, passage);
}

double stream_bytes_of_blocks(const Samples& samples, const Passage& passage, std::int64_t most) {
    return stream_bytes(most, samples.inputs.cols, passage);
}

RowFeed::RowFeed(const RowSource& source) : samples_(source), source_(source) {}

RowFeed::RowFeed(const Samples& samples, const Passage& passage, const RowNames& names, Copy copy, double room)
    : samples_(samples), passage_(passage), names_(names) {
    if (samples.stream != nullptr) {
        stream_.emplace(samples, passage, names.inputs);
        return;
    }
    source_ = passage.in_place(samples, &names);
    if (source_ || copy == Copy::blocks) return;
    const auto copies = [&](double bytes, auto convert) {
        if (copy == Copy::stretches || (copy == Copy::by_size && bytes > room)) return false;
        try {
            if ((source_ = convert())) return true;
        } catch (const std::bad_alloc&) {
            if (copy == Copy::whole) throw;
        }
        converted_ = {};
        return false;
    };
    if (copies(sparse_bytes(samples.inputs), [&] { return passage_.sparse(samples_, {}, names, converted_); })) return;
    if (copies(copy_bytes(samples, passage),
               [&] { return std::optional(passage_.convert(samples_, {}, names, converted_)); })) {
        return;
    }
    const std::int64_t most = std::max<std::int64_t>(1, kStretch / samples_.inputs.cols);
    for (std::int64_t first = 0; first < rows(); first += most) block(first, std::min(most, rows() - first));
}

double RowFeed::copied_bytes() const {
    const std::size_t floats = converted_.inputs.size() + converted_.targets.size() + converted_.weights.size();
    return sizeof(float) * static_cast<double>(floats) + static_cast<double>(converted_.sparse.bytes());
}

void RowFeed::hold(const Model& model) {
    if (!source_ || source_->resident) return;
    source_->resident = model.hold(*source_);
    source_->resident_row = 0;
    holds_ = true;
}

void RowFeed::release() {
    if (holds_) source_->resident = nullptr;
    holds_ = false;
}

Totals RowFeed::train(Model& model, const StepRange& range, const UpdateRule& rule, Reducer* reducer, Stop& stop) {
    if (source_) return model.train(*source_, range, rule, reducer, stop);
    const std::int64_t batch = std::max<std::int64_t>(1, range.batch_size);
    const auto at_once = static_cast<std::size_t>(steps_a_stretch(samples_.inputs.cols, batch));
    Totals totals{range.loss_sum, range.weight_sum, range.penalty_sum, 0, Status::complete};
    StepRange part = range;
    for (std::size_t step = 0; step < range.learning_rates.size(); step += at_once) {
        const std::size_t steps = std::min(at_once, range.learning_rates.size() - step);
        const std::size_t begin = step * static_cast<std::size_t>(batch);
        const auto rows =
            range.rows.subspan(begin, std::min(steps * static_cast<std::size_t>(batch), range.rows.size() - begin));
        RowSource source;
        try {
            source = stream_ ? stream_->read(rows.front(), static_cast<std::int64_t>(rows.size()))
                             : gather(rows, converted_);
        } catch (...) {
            if (!stream_) throw;
            failure_ = std::current_exception();
            totals.status = Status::stopped;
            break;
        }
        source.keys = rows.data();
        numbers_.resize(rows.size());
        std::iota(numbers_.begin(), numbers_.end(), std::int64_t{0});
        part.first_step = range.first_step + static_cast<std::int64_t>(step);
        part.rows = numbers_;
        part.learning_rates = range.learning_rates.subspan(step, steps);
        part.loss_sum = totals.loss_sum;
        part.weight_sum = totals.weight_sum;
        part.penalty_sum = totals.penalty_sum;
        const Totals done = model.train(source, part, rule, reducer, stop);
        totals.loss_sum = done.loss_sum;
        totals.weight_sum = done.weight_sum;
        totals.penalty_sum = done.penalty_sum;
        totals.steps_done += done.steps_done;
        totals.status = done.status;
        if (done.status != Status::complete) break;
    }
    return totals;
}

std::int64_t RowFeed::steps_at_once(std::int64_t batch_size) const {
    if (!stream_) return std::numeric_limits<std::int64_t>::max();
    return steps_a_stretch(samples_.inputs.cols, batch_size);
}

void RowFeed::rethrow_failure() {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

std::int64_t RowFeed::block_rows(std::int64_t most) const {
    if (source_ && !source_->sparse) return most;
    return std::clamp<std::int64_t>(kStretch / samples_.inputs.cols, 1, most);
}

RowSource RowFeed::block(std::int64_t first, std::int64_t count) {
    if (stream_) return stream_->read(first, count);
    if (source_ && source_->sparse) {
        const std::int64_t cols = source_->inputs.cols;
        converted_.inputs.resize(static_cast<std::size_t>(count * cols));
        const MutableMatrixView rows{converted_.inputs.data(), count, cols, cols};
        make_dense(*source_->sparse, first, rows);
        return {rows, {}, source_->weights ? source_->weights + first : nullptr};
    }
    if (source_) return slice(*source_, first, count);
    RowNames here = names_;
    here.first_row += first;
    return passage_.convert(samples_.slice(first, count), {}, here, converted_);
}

RowSource RowFeed::gather(std::span<const std::int64_t> row_numbers, Converted& to) const {
    if (source_ && source_->sparse) return *passage_.sparse(samples_, row_numbers, names_, to);
    return passage_.convert(samples_, row_numbers, names_, to);
}

}  // namespace isthmus
