// SPDX-License-Identifier: Apache-2.0
#include "core/stream_rows.hpp"

#include <algorithm>
#include <cmath>

namespace isthmus {
namespace {

void copy_rows(MatrixView from, float* to) {
    for (std::int64_t r = 0; r < from.rows; ++r) std::copy_n(from.row(r), from.cols, to + r * from.cols);
}

}  // namespace

double stream_bytes(std::int64_t rows, std::int64_t cols, const Passage& passage) {
    const double matrices = passage.may_make_targets() ? 2.0 : 1.0;
    const auto elements = static_cast<double>(rows) * static_cast<double>(cols);
    const auto of_part = static_cast<double>(std::min(rows, StreamPass::part_rows(cols))) * static_cast<double>(cols);
    // A weight, and three numbers: its place, its key, and the learning rate where batches are of one row.
    const double each = sizeof(float) + 3.0 * sizeof(std::int64_t);
    return sizeof(float) * matrices * (elements + of_part) + each * static_cast<double>(rows);
}

StreamRows::StreamRows(const Samples& samples, const Passage& passage, const std::string& name)
    : facts_(samples.stream->facts),
      passage_(passage),
      cols_(samples.inputs.cols),
      pass_(*samples.stream, cols_, name) {}

RowSource StreamRows::read(std::int64_t first, std::int64_t count) {
    try {
        go_to(first);
        next_.reset();  // until all is well
        inputs_.resize(static_cast<std::size_t>(count * cols_));
        has_targets_ = masked_ = false;
        has_weights_ = facts_.weighted;
        if (has_weights_) weights_.resize(static_cast<std::size_t>(count));
        for (std::int64_t done = 0; done < count;) {
            const StreamPass::Part next = part(count - done);
            take(next, done, count);
            done += next.rows.rows();
        }
        next_ = first + count;
        if (*next_ == facts_.rows) check_end();
    } catch (const Error& error) {
        next_.reset();
        throw StreamError(error);
    } catch (...) {
        next_.reset();
        throw;
    }
    RowSource source{{inputs_.data(), count, cols_, cols_}, {}, has_weights_ ? weights_.data() : nullptr};
    if (has_targets_) source.targets = MatrixView{targets_.data(), count, cols_, cols_};
    source.masked = masked_;
    return source;
}

void StreamRows::go_to(std::int64_t first) {
    if (next_ == first && first > 0) return;
    if (!next_ || *next_ > first || first == 0) {
        next_.reset();
        pass_.rewind();
        next_ = 0;
    }
    while (*next_ < first) {
        const std::int64_t skipped = part(first - *next_).rows.rows();
        next_ = *next_ + skipped;
    }
}

StreamPass::Part StreamRows::part(std::int64_t most) {
    auto next = pass_.next(std::min(most, StreamPass::part_rows(cols_)));
    if (!next) refuse_rows(pass_.rows());
    if ((next->rows.weights != nullptr) != facts_.weighted) {
        throw Error(ErrorKind::value, std::string(next->names.inputs) + (facts_.weighted ? " has no" : " has") +
                                          " sample_weight, unlike in the first reading of " + pass_.name());
    }
    return *next;
}

// Rows of a part to their place.
void StreamRows::take(const StreamPass::Part& part, std::int64_t at, std::int64_t count) {
    const auto in_place = passage_.in_place(part.rows, &part.names);
    const RowSource source = in_place ? *in_place : passage_.convert(part.rows, {}, part.names, converted_);
    const std::int64_t n = source.rows();
    const auto offset = static_cast<std::size_t>(at * cols_);
    copy_rows(source.inputs, inputs_.data() + offset);
    if (source.targets && !has_targets_) {
        has_targets_ = true;
        targets_.resize(static_cast<std::size_t>(count * cols_));
        std::copy_n(inputs_.begin(), offset, targets_.begin());
    }
    if (has_targets_) copy_rows(source.targets.value_or(source.inputs), targets_.data() + offset);
    if (source.weights != nullptr && !has_weights_) {  // of a row of which nothing was observed
        has_weights_ = true;
        weights_.assign(static_cast<std::size_t>(count), 1.0F);
    }
    const int exponent = facts_.weighted ? -facts_.weight_exponent : 0;
    for (std::int64_t i = 0; has_weights_ && i < n; ++i) {
        weights_[static_cast<std::size_t>(at + i)] = std::ldexp(source.weight(i), exponent);
    }
    masked_ = masked_ || source.masked;
}

void StreamRows::check_end() {
    while (pass_.next(StreamPass::part_rows(cols_))) {
    }
    if (pass_.rows() != facts_.rows) refuse_rows(pass_.rows());
}

void StreamRows::refuse_rows(std::int64_t rows) const {
    throw Error(ErrorKind::value, pass_.name() + " gave " + std::to_string(rows) + " rows this time and " +
                                      std::to_string(facts_.rows) +
                                      " when it was first read; each reading must give as many");
}

}  // namespace isthmus
