// SPDX-License-Identifier: Apache-2.0
#include "cpu/replica_step.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/passes.hpp"
#include "cpu/weight_gradients.hpp"

namespace isthmus::cpu {

namespace {

// The rows of part 0 or 1 of a batch whose part 0 has `first`, and those of the next batch, as if that were cut alike.
Batches part_of(const Batches& batch, std::int64_t first, int part) {
    const auto cut = [&](std::span<const std::int64_t> rows) {
        const std::size_t size = std::min(rows.size(), static_cast<std::size_t>(first));
        return part == 0 ? rows.first(size) : rows.subspan(size);
    };
    return {cut(batch.rows), cut(batch.next_rows)};
}

}  // namespace

Replica::Replica(const Network& network, std::int64_t rows, bool clean)
    : work(network, rows, 1, clean), state(3 * network.flat_size() + network.copies_size()) {
    for (Exchange& exchange : exchanges) {
        for (Part& part : exchange.parts) part.gradient = Buffer(network.flat_size());
    }
}

ReplicaRunner::ReplicaRunner(const Network& network, StepParameters parameters, const RowSource& source,
                             const StepRange& range, const UpdateRule& rule, Stop& stop, Workspace& work,
                             Replica& replica)
    : network_(network),
      parameters_(parameters),
      source_(source),
      range_(range),
      rule_(rule),
      stop_(stop),
      work_(work),
      replica_(replica) {
    totals_.loss_sum = range.loss_sum;
    totals_.weight_sum = range.weight_sum;
    for (Exchange& exchange : replica.exchanges) exchange.stopped = false;
}

Totals ReplicaRunner::run() {
    bool two = false;
    run_team(kThreads, [&](const Member& me) {
        if (me.id == 0) two = me.count == kThreads;
        run_member(me);
    });
    replica_.current = two && totals_.status != Status::diverged;
    if (exception_) std::rethrow_exception(exception_);
    return totals_;
}

StepParameters ReplicaRunner::replicated() {
    const std::int64_t n = network_.flat_size();
    float* const state = replica_.state.data();
    if (!replica_.current) {
        std::copy_n(parameters_.params, n, state);
        std::copy_n(parameters_.m, n, state + n);
        std::copy_n(parameters_.v, n, state + 2 * n);
        std::copy_n(parameters_.copies, network_.copies_size(), state + 3 * n);
    }
    return {state, state + n, state + 2 * n, state + 3 * n};
}

void ReplicaRunner::run_member(const Member& me) {
    // The first step's barrier stands between this copy and the first change.
    const StepParameters parameters = me.id == 0 ? parameters_ : replicated();
    const std::int64_t steps = range_.steps();
    for (std::int64_t s = 0; s < steps; ++s) {
        const auto constants = update_constants(rule_, range_, s);
        const Batches batch = batches(range_, s);
        const auto n = static_cast<std::int64_t>(batch.rows.size());
        const std::int64_t first = rows_summed_first(network_, n);
        const double weight = sum_of_weights(source_, batch.rows);
        Exchange& exchange = replica_.exchanges[s % 2];
        const Weights weights{parameters.params, parameters.copies};
        // One sum over all rows is one thread's; and all is when the system gave no second one.
        const bool apart = first < n && me.count == kThreads;
        for (int part = 0; part < 2; ++part) {
            if (me.id == (apart ? part : 0))
                sum_part(exchange.parts[part], weights, part_of(batch, first, part), me.id);
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

void ReplicaRunner::sum_part(Part& part, Weights weights, const Batches& batch, int thread) {
    part.loss = 0.0;
    const auto n = static_cast<std::int64_t>(batch.rows.size());
    if (n == 0) return;
    Workspace& work = thread == 0 ? work_ : replica_.work;
    forward_backward(network_, weights, source_, batch.rows, batch.next_rows, range_.noise, Member{0, 1, nullptr},
                     work);
    add_weighted(source_, batch.rows, work.errors, 0, n, part.loss);
    WeightGradients gradients(network_, work, 0, 0, n);
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
