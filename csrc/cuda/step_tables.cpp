// SPDX-License-Identifier: Apache-2.0
#include "cuda/step_tables.hpp"

#include <algorithm>

namespace isthmus::cuda {

namespace {

// Constants come first; both travel as one array of 8-byte words.
constexpr std::int64_t kWords = sizeof(StepConstants) / sizeof(std::int64_t);

}  // namespace

double batch_weight(const RowSource& source, const StepRange& range, std::int64_t step) {
    const auto size = static_cast<std::size_t>(range.batch_size);
    const auto from = range.rows.subspan(static_cast<std::size_t>(step) * size);
    const auto rows = from.first(std::min(from.size(), size));
    if (source.weights == nullptr) return static_cast<double>(rows.size());
    double sum = 0.0;
    for (const std::int64_t row : rows) sum += source.weight(row);
    return sum;
}

StepConstants step_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step, double weight) {
    return {
        math::make_constants(rule.optimizer, range.learning_rates[static_cast<std::size_t>(step)], rule.beta_1,
                             rule.beta_2, rule.epsilon, rule.momentum, rule.weight_decay, range.first_step + step + 1),
        static_cast<float>(1.0 / weight), weight != 0.0 ? 1.0F : 0.0F};
}

StepTables::StepTables(const RowSource& source, const StepRange& range, const UpdateRule& rule, std::int64_t steps,
                       bool with_numbers, NumberBuffers& buffers, Progress* progress, cudaStream_t stream)
    : source_(source),
      range_(range),
      rule_(rule),
      steps_(steps),
      with_numbers_(with_numbers),
      buffers_(buffers),
      progress_(progress),
      stream_(stream),
      weights_(static_cast<std::size_t>(steps)) {
    const std::int64_t numbers = with_numbers ? window_rows() * (source.keys != nullptr ? 2 : 1) : 0;
    buffers_.device.grow(steps * kWords + numbers);
}

StepTable StepTables::table() const {
    return {progress_, static_cast<std::uint32_t>(steps_),
            reinterpret_cast<const StepConstants*>(buffers_.device.data())};
}

const std::int64_t* StepTables::numbers() const {
    return with_numbers_ ? buffers_.device.data() + steps_ * kWords : nullptr;
}

const std::int64_t* StepTables::keys() const {
    return with_numbers_ && source_.keys != nullptr ? numbers() + window_rows() : numbers();
}

void StepTables::reach(std::int64_t step) {
    if (step % steps_ != 0) return;
    const std::int64_t end = std::min(step + steps_, range_.steps());
    const auto n_rows = static_cast<std::int64_t>(range_.rows.size());
    const std::int64_t begin_row = step * range_.batch_size;
    const std::int64_t rows = with_numbers_ ? std::min(end * range_.batch_size, n_rows) - begin_row : 0;
    const std::int64_t keys = source_.keys != nullptr && rows > 0 ? window_rows() : 0;  // where they begin
    std::int64_t* const to = buffers_.pinned.take(steps_ * kWords + rows + keys);
    auto* const constants = reinterpret_cast<StepConstants*>(to);
    for (std::int64_t s = step; s < end; ++s) {
        const double weight = weights_[static_cast<std::size_t>(s - step)] = batch_weight(source_, range_, s);
        constants[s - step] = step_constants(rule_, range_, s, weight);
    }
    const std::int64_t* const numbers = range_.rows.data() + begin_row;
    std::copy_n(numbers, rows, to + steps_ * kWords);
    for (std::int64_t r = 0; keys > 0 && r < rows; ++r) to[steps_ * kWords + keys + r] = source_.key(numbers[r]);
    buffers_.pinned.copy(buffers_.device.data(), rows > 0 ? steps_ * kWords + keys + rows : (end - step) * kWords,
                         stream_);
}

void StepTables::set_weight(std::int64_t step, double weight) {
    weights_[static_cast<std::size_t>(step % steps_)] = weight;
    std::int64_t* const to = buffers_.pinned.take(kWords);
    *reinterpret_cast<StepConstants*>(to) = step_constants(rule_, range_, step, weight);
    buffers_.pinned.copy(buffers_.device.data() + step % steps_ * kWords, kWords, stream_);
}

}  // namespace isthmus::cuda
