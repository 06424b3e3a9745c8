// SPDX-License-Identifier: Apache-2.0
// A caller's rows on their way to a device, for as long as a fit goes. What a device can read it reads in place; sparse
// rows stay sparse, and get their zeros in a block, or on the device a batch at a time. Other rows are converted once
// where memory allows; where it does not, as with a mapped file that is larger than memory, a stretch of steps at a
// time. All of it gives the same bits, and so do rows of a stream, a stretch of them in memory at a time.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/passage.hpp"
#include "core/stream_rows.hpp"
#include "device/contract.hpp"

namespace isthmus {

class RowFeed {
public:
    enum class Copy : std::uint8_t {
        whole,      // all rows at once: std::bad_alloc when there is no room
        by_size,    // whole where there is room for that, and it can be had, else in stretches
        stretches,  // converted again each time, after all were checked
        blocks,     // converted and checked as they come: for one pass
    };

    // Rows that a device can read, checked by nobody.
    RowFeed(const RowSource& source);  // NOLINT: the trainer takes such rows as they are
    // Samples and scaling must outlive it. `room`: bytes that a copy by_size may take. Throws Error(value) for a value
    // that must not reach a device. Rows of a stream, which was surveyed, are not copied, and checked as they come.
    RowFeed(const Samples& samples, const Passage& passage, const RowNames& names, Copy copy, double room = 0.0);
    RowFeed(const RowFeed&) = delete;
    RowFeed& operator=(const RowFeed&) = delete;

    std::int64_t rows() const { return samples_.rows(); }
    std::string name() const { return names_.inputs; }  // what the caller calls them
    // Of the copy that was made, or of a stretch; not of a stream.
    double copied_bytes() const;

    // Has the device keep the rows, where they are all at hand, until release: nothing stale survives a fit.
    void hold(const Model& model);
    void release();
    // Do rows come in one order only?
    bool is_stream() const { return stream_.has_value(); }
    // The most steps that `train` had better be asked for: those of rows that it has in memory together.
    std::int64_t steps_at_once(std::int64_t batch_size) const;
    // As Model::train on all rows; the range names them by their numbers. What a stream throws ends the range as a stop
    // does, and waits for rethrow_failure.
    Totals train(Model& model, const StepRange& range, const UpdateRule& rule, Reducer* reducer, Stop& stop);
    // The most rows, up to a number, that `block` had better be asked for: it may have to convert them.
    std::int64_t block_rows(std::int64_t most) const;
    void rethrow_failure();
    // Rows [first, first + count), with their zeros where they are sparse, valid until the next call of train or block.
    RowSource block(std::int64_t first, std::int64_t count);
    // The rows of these numbers, not of a stream.
    RowSource gather(std::span<const std::int64_t> row_numbers, Converted& to) const;

private:
    Samples samples_;
    Passage passage_;
    RowNames names_ = kRowNames;
    std::optional<StreamRows> stream_;
    std::optional<RowSource> source_;  // all rows, where they are at hand
    bool holds_ = false;
    Converted converted_;  // all of them, or a stretch
    std::vector<std::int64_t> numbers_;
    std::exception_ptr failure_;
};

// Of a whole copy of inputs and targets, at most; 0 where a device reads them in place.
double copy_bytes(const Samples& samples, const Passage& passage);
// Of the least that a feed by_size needs: a stretch, or all where that is less.
double least_copy_bytes(const Samples& samples, const Passage& passage);
// Of rows of a stream that are in memory together, at most: for steps of so many rows, or in blocks to be evaluated.
double stream_bytes_of_steps(const Samples& samples, const Passage& passage, std::int64_t batch_size);
double stream_bytes_of_blocks(const Samples& samples, const Passage& passage, std::int64_t most);

// Rows [first, first + count).
RowSource slice(const RowSource& source, std::int64_t first, std::int64_t count);

}  // namespace isthmus
