// SPDX-License-Identifier: Apache-2.0
#include "cuda/training.hpp"

#include <algorithm>
#include <cmath>

#include "cuda/tied.hpp"

namespace isthmus::cuda {

StepLoop::StepLoop(const Network& network, const Limits& limits, const Plan& plan, Parameters parameters,
                   const RowSource& source, const HeldRows* held, std::int64_t first, const StepRange& range,
                   const UpdateRule& rule, Reducer* reducer, Stop& stop, const Workspace& work, std::int64_t piece,
                   RangeBuffers& buffers, const Stream& stream)
    : network_(network),
      limits_(limits),
      plan_(plan),
      parameters_(parameters),
      range_(range),
      rule_(rule),
      reducer_(reducer),
      stop_(stop),
      work_(work),
      piece_(piece),
      buffers_(buffers),
      stream_(stream),
      tables_(source, range, rule, steps_a_table(range.batch_size), held != nullptr && rows_of(0) <= piece,
              buffers.table, buffers.progress.data(), stream),
      steps_a_look_(steps_a_look(network.step_flops(rows_of(0)), network.arithmetic())),
      drain_(stream) {
    if (held == nullptr) {
        feed_ = std::make_unique<StreamedFeed>(source, range.rows, piece, stream);
    } else if (tables_.numbers() == nullptr) {
        feed_ = std::make_unique<HeldFeed>(*held, first, range.rows, source.keys, piece, buffers.numbers, stream);
    } else {
        rows_ = held->rows(first);
        rows_.positions = tables_.numbers();
        rows_.numbers = tables_.keys();
        rows_.table = tables_.table();
        rows_.step_rows = range.batch_size;
    }
    if (plan.kind == PlanKind::two_kernels) {
        if (!buffers.parts) buffers.parts.emplace(stream, false, static_cast<std::int64_t>(network.layers().size()));
        two_kernels_.emplace(network, plan.two_kernels.layout, rule.optimizer, parameters.params, rows_, range.noise,
                             work, *buffers.parts);
    }
}

Totals StepLoop::run() {
    Totals counted;
    begin();
    queued_.reserve(static_cast<std::size_t>(range_.steps()));
    const auto count_steps = [&](std::int64_t first, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i) queued_.push_back({0.0, tables_.weight(first + i), 0.0});
    };
    for (std::int64_t step = 0; step < range_.steps();) {
        tables_.reach(step);
        const std::int64_t together = steps_together(step);
        // Stop is asked after each step, that is before a graph is queued for all of its steps but the last.
        bool stopped = false;
        std::int64_t count = 1;
        while (count < together && !(stopped = stop_requested(step + count - 1))) ++count;
        if (together > 1 && !stopped) {
            launch_graph();
        } else {
            for (std::int64_t i = 0; i < count; ++i) {
                if (!queue_step(step + i)) return totals(counted);
            }
        }
        if (reducer_ == nullptr) count_steps(step, count);
        step += count;
        if (!stopped) stopped = stop_requested(step - 1);
        if (stopped) {
            counted.status = Status::stopped;
            break;
        }
        if (seen_diverged(step)) break;
    }
    return totals(counted);
}

void StepLoop::begin() {
    Progress& begun = *buffers_.begun.data();
    begun = Progress{};
    begun.loss_sum = range_.loss_sum;
    begun.penalty_sum = range_.penalty_sum;
    begun.noise_epoch = range_.noise.epoch;
    copy_async(buffers_.progress.data(), &begun, 1, stream_);
}

Totals StepLoop::totals(Totals counted) {
    const Progress end = progress();
    if (exception_) std::rethrow_exception(exception_);
    counted.steps_done = static_cast<std::int64_t>(queued_.size());
    std::int64_t diverged = end.first_diverged();
    // The reducer's sum, which the device does not know.
    if (reducer_ != nullptr && counted.steps_done > 0 && !std::isfinite(queued_.back().loss + queued_.back().penalty)) {
        diverged = std::min(diverged, counted.steps_done - 1);
    }
    if (diverged != Progress::kNone) {
        counted.status = Status::diverged;
        counted.steps_done = diverged;
        queued_.resize(static_cast<std::size_t>(diverged));
    }
    counted.loss_sum = range_.loss_sum;
    counted.weight_sum = range_.weight_sum;
    counted.penalty_sum = range_.penalty_sum;
    for (const Sums& sums : queued_) {
        counted.weight_sum += sums.weight;
        counted.loss_sum += sums.loss;
        counted.penalty_sum += sums.penalty;
    }
    if (reducer_ == nullptr) {
        counted.loss_sum = end.loss_sum + (diverged == Progress::kNone ? end.step_loss : 0.0);
        counted.penalty_sum = end.penalty_sum + (diverged == Progress::kNone ? end.step_penalty : 0.0);
    }
    return counted;
}

// ---- steps ---------------------------------------------------------------------------------------------------------

std::int64_t StepLoop::steps_together(std::int64_t step) const {
    const std::int64_t n = plan_.steps_a_graph;
    const std::int64_t full_steps = static_cast<std::int64_t>(range_.rows.size()) / range_.batch_size;
    // The first step of all runs by itself: what the driver loads with a kernel's first launch is then loaded.
    if (n == 0 || step + n > std::min(full_steps, tables_.window_end(step))) return 1;
    return step > 0 || buffers_.graph.has_value() ? n : 1;
}

void StepLoop::launch_graph() {
    StepGraph::Told told{plan_.kind, rows_, range_.batch_size, range_.noise, rule_.optimizer, rule_.clip_norm};
    told.noise.epoch = 0;
    if (!buffers_.graph || buffers_.graph->told != told) {
        buffers_.graph.reset();
        buffers_.graph.emplace(told, Graph(stream_, [&] {
                                   for (std::int64_t i = 0; i < plan_.steps_a_graph; ++i) queue_step(0);
                               }));
    }
    buffers_.graph->graph.launch(stream_);
}

bool StepLoop::queue_step(std::int64_t step) {
    if (two_kernels_) {
        two_kernels_->queue(rows_of(step), stream_);
        return true;
    }
    queue_gradient(step);
    if (reducer_ != nullptr && !reduce(step)) return false;
    queue_update();
    return reducer_ == nullptr || progress().first_diverged() == Progress::kNone;
}

void StepLoop::queue_gradient(std::int64_t step) {
    const std::int64_t count = rows_of(step);
    const BatchGradient batch{
        network_, limits_, work_, parameters_.weights(), buffers_.gradient.data(), buffers_.progress.data(), stream_};
    for (std::int64_t row = 0; row < count; row += piece_) {
        const std::int64_t rows = std::min(piece_, count - row);
        const BatchGradient::Piece piece{feed_ ? feed_->next(rows) : rows_, rows, range_.noise, row == 0,
                                         row + rows == count};
        batch.forward(piece);
        if (feed_) feed_->release();
        batch.backward(piece);
    }
}

bool StepLoop::reduce(std::int64_t step) {
    const std::int64_t n = network_.flat_size();
    buffers_.reduced.grow(n);
    copy_async(buffers_.reduced.data(), buffers_.gradient.data(), n, stream_);
    const Progress now = progress();
    Sums sums{now.step_loss, tables_.weight(step), now.step_penalty};
    reducer_->reduce({buffers_.reduced.data(), static_cast<std::size_t>(n)}, sums.loss, sums.weight, sums.penalty);
    copy_async(buffers_.gradient.data(), buffers_.reduced.data(), n, stream_);
    tables_.set_weight(step, sums.weight);
    queued_.push_back(sums);
    return std::isfinite(sums.loss + sums.penalty);
}

void StepLoop::queue_update() {
    const std::int64_t n = network_.flat_size();
    if (rule_.clip_norm) {
        clip_factor({buffers_.gradient.data(), n, *rule_.clip_norm, buffers_.norm_partials.data(), tables_.table()},
                    stream_);
    }
    update({rule_.optimizer, rule_.clip_norm.has_value(), parameters_.params, buffers_.gradient.data(), parameters_.m,
            parameters_.v, n, tables_.table(), parameters_.planes->flat()},
           stream_);
    copy_tied_weights(network_, parameters_.params, stream_);
    parameters_.planes->refresh_copies(parameters_.params, stream_);
}

// ---- looks ---------------------------------------------------------------------------------------------------------

bool StepLoop::stop_requested(std::int64_t step) {
    if (step + 1 == range_.steps()) return false;
    try {
        return stop_.requested();
    } catch (...) {
        exception_ = std::current_exception();
        return true;
    }
}

bool StepLoop::seen_diverged(std::int64_t steps_queued) {
    if (steps_queued - looked_after_ < steps_a_look_) return false;
    looked_after_ = steps_queued;
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
