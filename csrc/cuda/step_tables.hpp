// SPDX-License-Identifier: Apache-2.0
// The host's side of step_table.hpp: fills the table of a range's steps window by window, in stream order, so that the
// copy waits for the kernels that read what it overwrites.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/feed.hpp"
#include "cuda/step_table.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// The sum of the weights of a step's rows, and what its update needs, where they weigh that much.
double batch_weight(const RowSource& source, const StepRange& range, std::int64_t step);
StepConstants step_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step, double weight);

class StepTables {
public:
    // steps: of a window. with_numbers: row numbers are in the table. The buffers' last user must be done.
    StepTables(const RowSource& source, const StepRange& range, const UpdateRule& rule, std::int64_t steps,
               bool with_numbers, NumberBuffers& buffers, Progress* progress, cudaStream_t stream);

    StepTable table() const;
    // Of the window's steps, batch_size each; null without.
    const std::int64_t* numbers() const;
    // What noise knows those rows by.
    const std::int64_t* keys() const;

    std::int64_t window_end(std::int64_t step) const { return (step / steps_ + 1) * steps_; }
    // To be called before each step is queued: brings the window that begins with it.
    void reach(std::int64_t step);
    // Of a step of the window.
    double weight(std::int64_t step) const { return weights_[static_cast<std::size_t>(step % steps_)]; }
    // What the step's rows weigh elsewhere, too.
    void set_weight(std::int64_t step, double weight);

private:
    StepConstants constants(std::int64_t step, double weight) const;
    // Rows of a whole window, whose keys begin there, where they are others than the rows' numbers.
    std::int64_t window_rows() const {
        return std::min(steps_ * range_.batch_size, static_cast<std::int64_t>(range_.rows.size()));
    }

    const RowSource& source_;
    const StepRange& range_;
    const UpdateRule& rule_;
    std::int64_t steps_;
    bool with_numbers_;
    NumberBuffers& buffers_;
    Progress* progress_;
    cudaStream_t stream_;
    std::vector<double> weights_;
};

}  // namespace isthmus::cuda
