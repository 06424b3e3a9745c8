// SPDX-License-Identifier: Apache-2.0
#include "cuda/training.hpp"

#include <algorithm>
#include <cmath>

namespace isthmus::cuda {

double batch_weight(const RowSource& source, const StepRange& range, std::int64_t step) {
    const auto size = static_cast<std::size_t>(range.batch_size);
    const auto from = range.rows.subspan(static_cast<std::size_t>(step) * size);
    const auto rows = from.first(std::min(from.size(), size));
    if (source.weights == nullptr) return static_cast<double>(rows.size());
    double sum = 0.0;
    for (const std::int64_t row : rows) sum += source.weight(row);
    return sum;
}

math::UpdateConstants update_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step) {
    return math::make_constants(rule.optimizer, range.learning_rates[static_cast<std::size_t>(step)], rule.beta_1,
                                rule.beta_2, rule.epsilon, rule.momentum, rule.weight_decay,
                                range.first_step + step + 1);
}

StepLoop::StepLoop(const Network& network, const Limits& limits, Parameters parameters, const RowSource& source,
                   const StepRange& range, const UpdateRule& rule, Reducer* reducer, Stop& stop, Feed& feed,
                   const Workspace& work, std::int64_t piece, RangeBuffers& buffers, const Stream& stream)
    : network_(network),
      limits_(limits),
      parameters_(parameters),
      source_(source),
      range_(range),
      rule_(rule),
      reducer_(reducer),
      stop_(stop),
      feed_(feed),
      work_(work),
      piece_(piece),
      buffers_(buffers),
      stream_(stream),
      steps_a_look_(
          steps_a_look(network.step_flops(std::min(range.batch_size, static_cast<std::int64_t>(range.rows.size()))))) {}

Totals StepLoop::run() {
    Totals totals;
    totals.loss_sum = range_.loss_sum;
    totals.weight_sum = range_.weight_sum;
    *buffers_.begun.data() = Progress{};
    buffers_.begun.data()->loss_sum = range_.loss_sum;
    copy_async(buffers_.progress.data(), buffers_.begun.data(), 1, stream_);

    std::vector<Sums> queued;
    queued.reserve(static_cast<std::size_t>(range_.steps()));
    std::int64_t diverged = Progress::kNone;
    for (std::int64_t step = 0; step < range_.steps(); ++step) {
        Sums sums = queue_gradient(step);
        if (reducer_ != nullptr) {
            sums = reduce(sums);
            if (!std::isfinite(sums.loss)) {
                diverged = step;
                break;
            }
        }
        if (sums.weight != 0.0) queue_update(step, sums.weight);
        if (reducer_ != nullptr && progress().first_diverged() != Progress::kNone) break;
        queued.push_back(sums);
        if (stop_requested(step)) {
            totals.status = Status::stopped;
            break;
        }
        if (seen_diverged(step)) break;
    }
    const Progress end = progress();
    if (exception_) std::rethrow_exception(exception_);

    diverged = std::min(diverged, end.first_diverged());
    totals.steps_done = static_cast<std::int64_t>(queued.size());
    if (diverged != Progress::kNone) {
        totals.status = Status::diverged;
        totals.steps_done = diverged;
        queued.resize(static_cast<std::size_t>(diverged));
    }
    for (const Sums& sums : queued) {
        totals.weight_sum += sums.weight;
        totals.loss_sum += sums.loss;
    }
    if (reducer_ == nullptr) totals.loss_sum = end.loss_sum + (diverged == Progress::kNone ? end.step_loss : 0.0);
    return totals;
}

StepLoop::Sums StepLoop::queue_gradient(std::int64_t step) {
    const auto begin = static_cast<std::size_t>(step * range_.batch_size);
    const std::int64_t count = std::min(range_.batch_size, static_cast<std::int64_t>(range_.rows.size() - begin));
    const BatchGradient batch{
        network_, limits_, work_, parameters_.params, buffers_.gradient.data(), buffers_.progress.data(), stream_};
    for (std::int64_t row = 0; row < count; row += piece_) {
        const std::int64_t rows = std::min(piece_, count - row);
        const BatchGradient::Piece piece{feed_.next(rows), rows, range_.noise, step, row == 0, row + rows == count};
        batch.forward(piece);
        feed_.release();
        batch.backward(piece);
    }
    Sums sums;
    sums.weight = batch_weight(source_, range_, step);
    return sums;
}

StepLoop::Sums StepLoop::reduce(Sums sums) {
    const std::int64_t n = network_.flat_size();
    buffers_.reduced.grow(n);
    copy_async(buffers_.reduced.data(), buffers_.gradient.data(), n, stream_);
    sums.loss = progress().step_loss;
    reducer_->reduce({buffers_.reduced.data(), static_cast<std::size_t>(n)}, sums.loss, sums.weight);
    copy_async(buffers_.gradient.data(), buffers_.reduced.data(), n, stream_);
    return sums;
}

void StepLoop::queue_update(std::int64_t step, double weight) {
    const auto scale = static_cast<float>(1.0 / weight);
    if (rule_.clip_norm) {
        clip_factor({buffers_.gradient.data(), network_.flat_size(), scale, *rule_.clip_norm,
                     buffers_.norm_partials.data(), buffers_.progress.data()},
                    stream_);
    }
    update(
        {rule_.optimizer, update_constants(rule_, range_, step), scale, rule_.clip_norm.has_value(), parameters_.params,
         buffers_.gradient.data(), parameters_.m, parameters_.v, network_.flat_size(), buffers_.progress.data(), step},
        stream_);
}

bool StepLoop::stop_requested(std::int64_t step) {
    if (step + 1 == range_.steps()) return false;
    try {
        return stop_.requested();
    } catch (...) {
        exception_ = std::current_exception();
        return true;
    }
}

bool StepLoop::seen_diverged(std::int64_t step) {
    if ((step + 1) % steps_a_look_ != 0) return false;
    const auto now = static_cast<std::size_t>(looks_++ % 2);
    copy_async(buffers_.seen.data() + now, buffers_.progress.data(), 1, stream_);
    buffers_.looked[now].record(stream_);
    if (looks_ == 1) return false;
    // The steps of this look are queued; wait for those of the one before, so that the device never idles.
    buffers_.looked[1 - now].wait();
    return buffers_.seen.data()[1 - now].first_diverged() != Progress::kNone;
}

Progress StepLoop::progress() {
    copy_async(buffers_.seen.data(), buffers_.progress.data(), 1, stream_);
    stream_.synchronize();
    return buffers_.seen.data()[0];
}

}  // namespace isthmus::cuda
