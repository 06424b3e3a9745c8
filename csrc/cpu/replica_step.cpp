// SPDX-License-Identifier: Apache-2.0
#include "cpu/replica_step.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/passes.hpp"
#include "cpu/weight_gradients.hpp"

namespace isthmus::cpu {

ReplicaRunner::ReplicaRunner(const Network& network, StepParameters parameters, const RowSource& source,
                             const StepRange& range, const UpdateRule& rule, Stop& stop, Workspace& work)
    : network_(network),
      parameters_(parameters),
      source_(source),
      range_(range),
      rule_(rule),
      stop_(stop),
      work_(work),
      replica_(3 * network.flat_size() + network.copies_size()) {
    totals_.loss_sum = range.loss_sum;
    totals_.weight_sum = range.weight_sum;
    for (Exchange& exchange : exchanges_) {
        for (Part& part : exchange.parts) part.gradient = Buffer(network.flat_size());
    }
}

Totals ReplicaRunner::run() {
    const std::int64_t n = network_.flat_size();
    const StepParameters replica{replica_.data(), replica_.data() + n, replica_.data() + 2 * n,
                                 replica_.data() + 3 * n};
    std::copy_n(parameters_.params, n, replica.params);
    std::copy_n(parameters_.m, n, replica.m);
    std::copy_n(parameters_.v, n, replica.v);
    std::copy_n(parameters_.copies, network_.copies_size(), replica.copies);
    run_team(kThreads, [&](const Member& me) { run_member(me, me.id == 0 ? parameters_ : replica); });
    if (exception_) std::rethrow_exception(exception_);
    return totals_;
}

void ReplicaRunner::run_member(const Member& me, const StepParameters& parameters) {
    const Member alone{0, 1, me.barrier};
    const std::int64_t steps = range_.steps();
    for (std::int64_t s = 0; s < steps; ++s) {
        const auto constants = update_constants(rule_, range_, s);
        const auto [rows, next_rows] = batches(range_, s);
        const auto n = static_cast<std::int64_t>(rows.size());
        const std::int64_t first = rows_summed_first(network_, n);
        const double weight = sum_of_weights(source_, rows);
        Exchange& exchange = exchanges_[s % 2];
        // One sum over all rows is one thread's; and all is when the system gave no second one.
        const bool apart = first < n && me.count == kThreads;
        if (apart || me.id == 0) {
            forward_backward(network_, {parameters.params, parameters.copies}, source_, rows, next_rows, range_.noise,
                             apart ? me : alone, work_);
            if (!apart || me.id == 0) sum_part(exchange.parts[0], rows, 0, first, me.id);
            if (!apart || me.id == 1) sum_part(exchange.parts[1], rows, first, n, me.id);
        }
        if (me.id == 0 && stop_requested()) exchange.stopped = true;
        me.wait();
        const double loss = exchange.parts[0].loss + exchange.parts[1].loss;
        bool finite = std::isfinite(loss);
        if (finite && weight != 0.0) {
            finite = update(parameters, exchange, first < n, constants, static_cast<float>(1.0 / weight));
        }
        if (me.id == 0 && !finite) totals_.status = Status::diverged;
        if (!finite) return;
        if (me.id == 0) {
            totals_.loss_sum += loss;
            totals_.weight_sum += weight;
            totals_.steps_done = s + 1;
            if (exchange.stopped) totals_.status = Status::stopped;
        }
        if (exchange.stopped) return;
    }
}

bool ReplicaRunner::stop_requested() {
    try {
        return stop_.requested();
    } catch (...) {
        exception_ = std::current_exception();
        return true;
    }
}

void ReplicaRunner::sum_part(Part& part, std::span<const std::int64_t> rows, std::int64_t begin, std::int64_t end,
                             int thread) {
    part.loss = 0.0;
    if (begin == end) return;
    add_losses(source_, rows, work_, begin, end, part.loss);
    WeightGradients gradients(network_, work_, thread, begin, end);
    for (const WeightTile& tile : network_.weight_tiles()) {
        gradients.tile(tile, false, part.gradient.data() + tile.offset, {});
    }
}

bool ReplicaRunner::update(const StepParameters& parameters, const Exchange& exchange, bool both,
                           const math::UpdateConstants& constants, float scale) {
    alignas(64) float sum[kWeightTileSize];
    bool finite = true;
    for (const WeightTile& tile : network_.weight_tiles()) {
        const float* gradient = exchange.parts[0].gradient.data() + tile.offset;
        if (both) {
            network_.isa().sum(tile.size, gradient, exchange.parts[1].gradient.data() + tile.offset, sum);
            gradient = sum;
        }
        finite &= update_tile(network_, tile, rule_.optimizer, constants, scale, gradient, parameters);
    }
    return finite;
}

}  // namespace isthmus::cpu
