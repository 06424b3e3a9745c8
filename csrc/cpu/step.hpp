// SPDX-License-Identifier: Apache-2.0
// The two plans of a step.
//
// fused: rows | barrier | each weight tile: gradient, update, copies of the weight | barrier.
// split: pieces of rows summed into the flat gradient | reduce | norm | update | barrier.
// Both apply the same operations to each element in the same order, so they give the same bits; so does the fused plan
// of a small network on two threads, replica_step.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <span>
#include <vector>

#include "cpu/network.hpp"
#include "cpu/passes.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"
#include "math/optimizers.hpp"

namespace isthmus::cpu {

// Sum of the weights of rows; of their weighted losses, or penalties, for those that stand at [begin, end) of the
// workspace.
double sum_of_weights(const RowSource& source, std::span<const std::int64_t> rows);
void add_weighted(const RowSource& source, std::span<const std::int64_t> rows, std::span<const double> values,
                  std::int64_t begin, std::int64_t end, double& sum);

// Of a step, or of a batch.
struct Sums {
    double loss = 0.0;
    double weight = 0.0;
    double penalty = 0.0;
};

// Of step number `step` (from 0) of a range: the optimizer's constants, the numbers of its rows and of the next step's.
math::UpdateConstants update_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step);
struct Batches {
    std::span<const std::int64_t> rows;
    std::span<const std::int64_t> next_rows;
};
Batches batches(const StepRange& range, std::int64_t step);

// The unnormalised gradient of some rows as one batch, piece by piece, into a flat buffer of the device's layout.
struct GradientSum {
    const Network& network;
    Weights weights;
    const RowSource& source;
    const Noise& noise;
    Workspace& work;
    float* gradient;

    // Called by every member; ends with a barrier. The first member writes the sums.
    void run(const Member& me, std::span<const std::int64_t> rows, Sums& sums) const;
};

struct StepParameters {
    float* params;
    float* m;
    float* v;
    float* copies;
};

// The optimizer's step on a tile, whose gradient is dw times scale; false when a new value is not finite.
bool update_tile(const Network& network, const WeightTile& tile, Optimizer optimizer,
                 const math::UpdateConstants& constants, float scale, const float* dw,
                 const StepParameters& parameters);

class StepRunner {
public:
    // flat_gradient null: the fused plan.
    StepRunner(const Network& network, StepParameters parameters, const RowSource& source, const StepRange& range,
               const UpdateRule& rule, float* flat_gradient, Reducer* reducer, Stop& stop, Workspace& work);

    Totals run(int threads);

private:
    void run_member(const Member& me);
    Sums fused_step(const Member& me, std::span<const std::int64_t> rows, std::span<const std::int64_t> next_rows,
                    const math::UpdateConstants& constants);
    Sums split_step(const Member& me, std::span<const std::int64_t> rows, const math::UpdateConstants& constants);
    double gradient_norm(const Member& me, float scale);
    void update(const WeightTile& tile, const math::UpdateConstants& constants, float scale, const float* dw);
    std::span<const WeightTile> share(const Member& me) const;

    const Network& network_;
    StepParameters parameters_;
    const RowSource& source_;
    const StepRange& range_;
    const UpdateRule& rule_;
    float* flat_gradient_;
    Reducer* reducer_;
    Stop& stop_;
    Workspace& work_;

    Totals totals_;
    Sums batch_;                        // split plan: written by the first member
    std::vector<double> tile_squares_;  // split plan: one a weight tile
    std::vector<std::int64_t> cost_;    // running cost of the weight tiles
    bool fetch_;                        // parameters and moments do not fit L2
    std::atomic<bool> diverged_{false};
    // Set when this member's share of the step is done and read behind the step's last barrier only: a member that is
    // behind must not see it in the middle of its own share.
    std::atomic<bool> stopped_{false};
    bool reduce_failed_ = false;    // written by the first member between two barriers
    std::exception_ptr exception_;  // from Stop or Reducer, for the caller
};

}  // namespace isthmus::cpu
