// SPDX-License-Identifier: Apache-2.0
#include "cpu/step.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/tied.hpp"
#include "cpu/weight_gradients.hpp"

namespace isthmus::cpu {

double sum_of_weights(const RowSource& source, std::span<const std::int64_t> rows) {
    if (source.weights == nullptr) return static_cast<double>(rows.size());
    double sum = 0.0;
    for (const std::int64_t row : rows) sum += source.weight(row);
    return sum;
}

void add_weighted(const RowSource& source, std::span<const std::int64_t> rows, std::span<const double> values,
                  std::int64_t begin, std::int64_t end, double& sum) {
    for (std::int64_t r = begin; r < end; ++r) {
        const auto i = static_cast<std::size_t>(r);
        sum += source.weight(rows[i]) * values[i];
    }
}

void GradientSum::run(const Member& me, std::span<const std::int64_t> rows, Sums& sums) const {
    const auto n = static_cast<std::int64_t>(rows.size());
    const std::vector<WeightTile>& tiles = network.weight_tiles();
    const auto n_tiles = static_cast<std::int64_t>(tiles.size());
    double loss[2] = {};
    double penalty = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += work.rows) {
        const std::int64_t count = std::min(work.rows, n - begin);
        const auto piece = rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
        forward_backward(network, weights, source, piece, {}, noise, me, work);
        me.wait();
        const std::int64_t first = count == n ? rows_summed_first(network, n) : count;
        BatchGradients gradients(network, work, me.id, count, first);
        for (std::int64_t t = me.begin(n_tiles); t < me.end(n_tiles); ++t) {
            const WeightTile& tile = tiles[static_cast<std::size_t>(t)];
            gradients.tile(tile, begin > 0, gradient + tile.offset, {});
        }
        if (me.id == 0) {
            add_weighted(source, piece, work.errors, 0, first, loss[0]);
            add_weighted(source, piece, work.errors, first, count, loss[1]);
            if (!work.penalties.empty()) add_weighted(source, piece, work.penalties, 0, count, penalty);
        }
        me.wait();
    }
    if (me.id == 0) {
        sums = {loss[0] + loss[1], sum_of_weights(source, rows), penalty};
    }
}

math::UpdateConstants update_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step) {
    return math::make_constants(rule.optimizer, range.learning_rates[static_cast<std::size_t>(step)], rule.beta_1,
                                rule.beta_2, rule.epsilon, rule.momentum, rule.weight_decay,
                                range.first_step + step + 1);
}

Batches batches(const StepRange& range, std::int64_t step) {
    const auto size = static_cast<std::size_t>(range.batch_size);
    const auto from = range.rows.subspan(static_cast<std::size_t>(step) * size);
    const auto now = from.first(std::min(from.size(), size));
    const auto later = from.subspan(now.size());
    return {now, later.first(std::min(later.size(), size))};
}

StepRunner::StepRunner(const Network& network, StepParameters parameters, const RowSource& source,
                       const StepRange& range, const UpdateRule& rule, float* flat_gradient, Reducer* reducer,
                       Stop& stop, Workspace& work)
    : network_(network),
      parameters_(parameters),
      source_(source),
      range_(range),
      rule_(rule),
      flat_gradient_(flat_gradient),
      reducer_(reducer),
      stop_(stop),
      work_(work),
      tile_squares_(network.weight_tiles().size()),
      fetch_(network.flat_size() > kWordsInL2 / 4) {
    totals_.loss_sum = range.loss_sum;
    totals_.weight_sum = range.weight_sum;
    totals_.penalty_sum = range.penalty_sum;
    std::int64_t total = 0;
    for (const WeightTile& tile : network.weight_tiles()) {
        total += tile.size;
        cost_.push_back(total);
    }
}

Totals StepRunner::run(int threads) {
    run_team(threads, [this](const Member& me) { run_member(me); });
    if (exception_) std::rethrow_exception(exception_);
    return totals_;
}

std::span<const WeightTile> StepRunner::share(const Member& me) const {
    const auto cut = [&](int id) {
        return std::lower_bound(cost_.begin(), cost_.end(), cost_.back() * id / me.count + 1) - cost_.begin();
    };
    const auto begin = me.id == 0 ? 0 : cut(me.id);
    const auto end = me.id + 1 == me.count ? static_cast<std::ptrdiff_t>(cost_.size()) : cut(me.id + 1);
    return std::span(network_.weight_tiles())
        .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

void StepRunner::run_member(const Member& me) {
    const std::int64_t steps = range_.steps();
    for (std::int64_t s = 0; s < steps; ++s) {
        const auto constants = update_constants(rule_, range_, s);
        const auto [rows, next_rows] = batches(range_, s);
        const Sums sums = flat_gradient_ ? split_step(me, rows, constants) : fused_step(me, rows, next_rows, constants);
        if (me.id == 0) {
            if (!std::isfinite(sums.loss + sums.penalty)) diverged_.store(true, std::memory_order_relaxed);
            try {
                if (reduce_failed_ || stop_.requested()) stopped_.store(true, std::memory_order_relaxed);
            } catch (...) {
                exception_ = std::current_exception();
                stopped_.store(true, std::memory_order_relaxed);
            }
        }
        me.wait();
        if (diverged_.load(std::memory_order_relaxed)) {
            if (me.id == 0) totals_.status = Status::diverged;
            return;
        }
        if (me.id == 0) {
            totals_.loss_sum += sums.loss;
            totals_.weight_sum += sums.weight;
            totals_.penalty_sum += sums.penalty;
            totals_.steps_done = s + 1;
        }
        if (stopped_.load(std::memory_order_relaxed)) {
            if (me.id == 0) totals_.status = Status::stopped;
            return;
        }
    }
}

Sums StepRunner::fused_step(const Member& me, std::span<const std::int64_t> rows,
                            std::span<const std::int64_t> next_rows, const math::UpdateConstants& constants) {
    const auto n = static_cast<std::int64_t>(rows.size());
    const Weights weights{parameters_.params, parameters_.copies};
    forward_backward(network_, weights, source_, rows, next_rows, range_.noise, me, work_);
    const std::int64_t first = rows_summed_first(network_, n);
    Sums sums;
    sums.weight = sum_of_weights(source_, rows);
    me.wait();
    if (me.id == 0) {
        double rest = 0.0;
        add_weighted(source_, rows, work_.errors, 0, first, sums.loss);
        add_weighted(source_, rows, work_.errors, first, n, rest);
        sums.loss += rest;
        if (!work_.penalties.empty()) add_weighted(source_, rows, work_.penalties, 0, n, sums.penalty);
    }
    if (sums.weight == 0.0) return sums;

    const auto scale = static_cast<float>(1.0 / sums.weight);
    alignas(64) float dw[kWeightTileSize];
    BatchGradients gradients(network_, work_, me.id, n, first);
    for (const WeightTile& tile : share(me)) {
        const float* upcoming[3] = {};
        if (fetch_) {
            upcoming[0] = parameters_.params + tile.offset;
            upcoming[1] = parameters_.m + tile.offset;
            upcoming[2] = parameters_.v + tile.offset;
        }
        gradients.tile(tile, false, dw, upcoming);
        update(tile, constants, scale, dw);
    }
    return sums;
}

Sums StepRunner::split_step(const Member& me, std::span<const std::int64_t> rows,
                            const math::UpdateConstants& constants) {
    const Weights weights{parameters_.params, parameters_.copies};
    GradientSum{network_, weights, source_, range_.noise, work_, flat_gradient_}.run(me, rows, batch_);
    if (me.id == 0 && reducer_ != nullptr) {
        try {
            reducer_->reduce({flat_gradient_, static_cast<std::size_t>(network_.flat_size())}, batch_.loss,
                             batch_.weight, batch_.penalty);
        } catch (...) {
            exception_ = std::current_exception();
            reduce_failed_ = true;
        }
    }
    me.wait();
    const Sums sums = batch_;
    if (sums.weight == 0.0 || reduce_failed_) return sums;
    if (network_.tied()) {
        add_tied_gradients(network_, flat_gradient_, me);
        me.wait();
    }

    auto scale = static_cast<float>(1.0 / sums.weight);
    if (rule_.clip_norm) {
        const double norm = gradient_norm(me, scale);
        if (norm > *rule_.clip_norm) scale *= static_cast<float>(*rule_.clip_norm / norm);
    }
    for (const WeightTile& tile : share(me)) update(tile, constants, scale, flat_gradient_ + tile.offset);
    return sums;
}

double StepRunner::gradient_norm(const Member& me, float scale) {
    const InstructionSet& isa = network_.isa();
    const std::vector<WeightTile>& tiles = network_.weight_tiles();
    for (const WeightTile& tile : share(me)) {
        const std::int64_t again = repeated_gradient(network_, tile);
        tile_squares_[static_cast<std::size_t>(&tile - tiles.data())] =
            isa.sum_of_squares(flat_gradient_ + tile.offset + again, tile.size - again, scale);
    }
    me.wait();
    double sum = 0.0;
    for (const double square : tile_squares_) sum += square;
    return std::sqrt(sum);
}

void StepRunner::update(const WeightTile& tile, const math::UpdateConstants& constants, float scale, const float* dw) {
    if (!update_tile(network_, tile, rule_.optimizer, constants, scale, dw, parameters_)) {
        diverged_.store(true, std::memory_order_relaxed);
    }
}

bool update_tile(const Network& network, const WeightTile& tile, Optimizer optimizer,
                 const math::UpdateConstants& constants, float scale, const float* dw,
                 const StepParameters& parameters) {
    const bool finite = network.isa().update({optimizer, &constants, scale, parameters.params + tile.offset, dw,
                                              parameters.m + tile.offset, parameters.v + tile.offset, tile.size});
    network.copy_weights(tile, parameters.params, parameters.copies);
    return finite;
}

}  // namespace isthmus::cpu
