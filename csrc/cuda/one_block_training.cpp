// SPDX-License-Identifier: Apache-2.0
#include "cuda/one_block_training.hpp"

#include <algorithm>
#include <cmath>

namespace isthmus::cuda {

OneBlockLoop::OneBlockLoop(const Network& network, const OneBlockPlan& plan, Parameters parameters,
                           const RowSource& source, const HeldRows& held, std::int64_t first, const StepRange& range,
                           const UpdateRule& rule, Stop& stop, OneBlockBuffers& buffers, const Stream& stream)
    : plan_(plan),
      source_(source),
      range_(range),
      rule_(rule),
      stop_(stop),
      buffers_(buffers),
      stream_(stream),
      args_{},
      most_steps_(std::min(range.steps(), steps_a_launch(plan))) {
    args_.layout = plan.layout;
    args_.loss = network.loss();
    args_.optimizer = rule.optimizer;
    args_.params = parameters.params;
    args_.m = parameters.m;
    args_.v = parameters.v;
    args_.rows = held.rows(first);
    args_.noise = range.noise;
    totals_.loss_sum = range.loss_sum;
    totals_.weight_sum = range.weight_sum;
}

Totals OneBlockLoop::run() {
    std::int64_t queued = 0;
    std::int64_t collected = 0;
    const auto slot = [&](std::int64_t launch) -> OneBlockBuffers::Slot& { return buffers_.slots[launch % 2]; };
    bool finite = true;
    while (finite && next_ < range_.steps() && !stopped_) {
        if (queued - collected == 2) finite = collect(slot(collected++));
        if (finite) queue(slot(queued++));
    }
    while (finite && collected < queued) finite = collect(slot(collected++));
    stream_.synchronize();
    if (exception_) std::rethrow_exception(exception_);
    if (finite) totals_.status = stopped_ ? Status::stopped : Status::complete;
    return totals_;
}

void OneBlockLoop::queue(OneBlockBuffers::Slot& slot) {
    const std::int64_t begin = next_ * range_.batch_size;
    const auto n_rows = static_cast<std::int64_t>(range_.rows.size());
    slot.numbers.grow(std::min(n_rows, most_steps_ * range_.batch_size));
    slot.constants.grow(most_steps_);
    slot.losses.grow(most_steps_ * plan_.layout.loss_groups);
    slot.weights.clear();
    *slot.diverged.data() = -1;
    const std::int64_t last = std::min(range_.steps(), next_ + most_steps_);
    for (; next_ < last && !stopped_; ++next_) {
        add_step(slot, next_);
        stopped_ = stop_requested(next_);
    }
    const std::int64_t end = std::min(n_rows, next_ * range_.batch_size);
    std::copy(range_.rows.begin() + begin, range_.rows.begin() + end, slot.numbers.data());

    args_.rows.numbers = args_.rows.positions = slot.numbers.data();
    args_.constants = slot.constants.data();
    args_.losses = slot.losses.data();
    args_.diverged = slot.diverged.data();
    args_.steps = static_cast<int>(slot.weights.size());
    args_.rows_of_last = static_cast<int>(end - (next_ - 1) * range_.batch_size);
    run_one_block(args_, stream_);
    slot.done.record(stream_);
}

void OneBlockLoop::add_step(OneBlockBuffers::Slot& slot, std::int64_t step) {
    const double weight = batch_weight(source_, range_, step);
    slot.constants.data()[slot.weights.size()] = step_constants(rule_, range_, step, weight);
    slot.weights.push_back(weight);
}

bool OneBlockLoop::stop_requested(std::int64_t step) {
    if (step + 1 == range_.steps()) return false;
    try {
        return stop_.requested();
    } catch (...) {
        exception_ = std::current_exception();
        return true;
    }
}

bool OneBlockLoop::collect(OneBlockBuffers::Slot& slot) {
    slot.done.wait();
    const int groups = plan_.layout.loss_groups;
    const double* losses = slot.losses.data();
    for (std::size_t step = 0; step < slot.weights.size(); ++step, losses += groups) {
        double loss = 0.0;
        for (int group = 0; group < groups; ++group) loss += losses[group];
        if (!std::isfinite(loss) || static_cast<int>(step) == *slot.diverged.data()) {
            totals_.status = Status::diverged;
            return false;
        }
        totals_.loss_sum += loss;
        totals_.weight_sum += slot.weights[step];
        ++totals_.steps_done;
    }
    return true;
}

}  // namespace isthmus::cuda
