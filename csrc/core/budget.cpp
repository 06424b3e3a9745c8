// SPDX-License-Identifier: Apache-2.0
#include "core/budget.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <thread>

#include "core/json.hpp"
#include "core/parameters.hpp"
#include "device/cgroup.hpp"

namespace isthmus {
namespace {

constexpr double kFloat = 4.0;
constexpr double kNumber = 8.0;  // of a row, and a double

// Flat buffers of a model that is trained: weights and two moments, the same as they are kept to go back to, and the
// copy of the weights as products want them.
constexpr double kTrainingCopies = 7.0;

// Rows that a device takes through the network at a time, at most; and, for each of them and each thread, floats of
// packed operands: 256 columns of x and a panel of dz. cpu/workspace.hpp has the exact sizes.
constexpr std::int64_t kMostRows = 1024;
constexpr double kPackedFloats = 288.0;
// Floats that a matrix has more in a row than its width says.
constexpr double kPadding = 32.0;

std::string text(double bytes) { return std::to_string(static_cast<std::int64_t>(std::ceil(bytes))); }

// Copies of flat buffers that a configuration asks for beside kTrainingCopies.
double further_copies(const Configuration& configuration, const FitSize& size) {
    const double best = configuration.patience && configuration.restore_best ? 1.0 : 0.0;
    const bool split = configuration.clip_norm || configuration.tied_weights || configuration.batch_size > kMostRows;
    // A checkpoint is copied out of the device and written as one text.
    const double checkpoint = size.checkpoints ? 2.0 * (3.0 + best) : 0.0;
    return best + (split ? 1.0 : 0.0) + checkpoint;
}

// A tied layer has panels of its own on the CPU. What is larger than two huge pages ends there with a whole one.
double flat_bytes(Widths widths) {
    constexpr double kHugePage = 2097152.0;
    widths.tied = false;
    const double bytes = kFloat * static_cast<double>(parameter_layout(widths).flat_size);
    return bytes < 2.0 * kHugePage ? bytes : kHugePage * std::ceil(bytes / kHugePage);
}

// Floats of a row for what is done to the code: log variances and their gradients; the gradient by what the decoder
// sees; which units are kept, or what was drawn and of what.
double code_floats(const Widths& widths, const Configuration& configuration) {
    const auto code = static_cast<double>(widths.layers[widths.code]);
    const bool changed = widths.code_parts > 1 || configuration.code_topk || configuration.code_l1 > 0.0;
    return 2.0 * static_cast<double>(widths.code_parts - 1) * code + (changed ? 3.0 * (code + kPadding) : 0.0);
}

}  // namespace

MemoryNeed memory_need(const Widths& widths, const Configuration& configuration, const FitSize& size) {
    const auto n = static_cast<double>(size.rows);
    MemoryNeed need;
    need.parameters = (kTrainingCopies + further_copies(configuration, size)) * flat_bytes(widths);

    const std::int64_t rows = size.streamed ? kMostRows : size.rows;
    const auto batch = static_cast<double>(std::min({configuration.batch_size, rows, kMostRows}));
    double floats = -static_cast<double>(widths.layers.front()) - kPadding;  // the input has no gradient
    for (const std::int64_t width : widths.layers) floats += 2.0 * (static_cast<double>(width) + kPadding);
    floats += code_floats(widths, configuration);
    const int threads = size.n_threads > 0 ? size.n_threads : static_cast<int>(std::thread::hardware_concurrency());
    need.batch = kFloat * batch * (floats + kPackedFloats * threads);

    if (size.streamed) return need;
    const bool detects = configuration.kind == ModelKind::anomaly_detector;
    double each = kNumber;  // which rows
    if (configuration.shuffle) each += kNumber;
    if (size.has_weights) each += kFloat;
    if (size.holds_back) {
        each += kNumber + configuration.validation_fraction * kFloat * static_cast<double>(widths.layers.front());
    }
    if (detects) each += 2.0 * kFloat + 2.0 * kNumber;  // weights, tails and scores
    need.rows = each * n;
    if (detects) {  // a sample of the rows, and its columns' values and weights: core/marginals.cpp
        const auto cols = static_cast<double>(widths.layers.front());
        need.rows += 3.0 * kNumber * std::min(n * cols, std::max(1024.0 * cols, 4194304.0));
    }
    return need;
}

void check_memory(const Widths& widths, std::int64_t max_memory) {
    const double flat = kFloat * static_cast<double>(parameter_layout(widths).flat_size);
    const double limit = max_memory > 0 ? static_cast<double>(max_memory) : static_cast<double>(memory_limit());
    if (kTrainingCopies * flat <= limit) return;
    throw Error(ErrorKind::memory, takes_bytes(widths, kTrainingCopies) + " of weights and moments; " +
                                       (max_memory > 0 ? "max_memory is " : "this machine has ") + text(limit));
}

MemoryBudget::MemoryBudget(const MemoryNeed& need, std::int64_t max_memory)
    : need_(need),
      max_memory_(max_memory),
      left_(max_memory > 0 ? static_cast<double>(max_memory) - need.total() : std::numeric_limits<double>::infinity()),
      room_(std::min(left_, static_cast<double>(memory_limit()) / 4.0)) {}

void MemoryBudget::check(double copies) const {
    if (copies <= left_) return;
    throw Error(ErrorKind::memory,
                "max_memory is " + std::to_string(max_memory_) + " bytes, but this fit takes " +
                    text(static_cast<double>(max_memory_) - left_ + copies) + ": " + text(need_.parameters) +
                    " of weights, moments and their copies, " + text(need_.batch) + " of a batch, " +
                    text(static_cast<double>(max_memory_) - left_ + copies - need_.parameters - need_.batch) +
                    " of rows");
}

void MemoryBudget::take(double bytes) {
    left_ -= bytes;
    room_ = std::min(room_, left_);
}

}  // namespace isthmus
