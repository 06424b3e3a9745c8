// SPDX-License-Identifier: Apache-2.0
// A range of steps, layer by layer or two kernels each. The host queues them one after another, or a graph of several
// at a time, and looks at the device every few: what a step needs to know of the one before is on the device, and a
// step after one that diverged changes nothing that counts.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/feed.hpp"
#include "cuda/graph.hpp"
#include "cuda/passes.hpp"
#include "cuda/range_plan.hpp"
#include "cuda/step_tables.hpp"
#include "cuda/stream.hpp"
#include "cuda/two_kernels_step.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// Steps that were captured, and all that their kernels were told besides what one model and workspace always tell them.
struct StepGraph {
    struct Told {
        PlanKind kind;
        BatchRows rows;
        std::int64_t count;
        Noise noise;  // of epoch 0
        Optimizer optimizer;
        std::optional<double> clip_norm;

        bool operator==(const Told&) const = default;
    };
    Told told;
    Graph graph;
};

// What a range needs besides the workspace, kept from one to the next.
struct RangeBuffers {
    explicit RangeBuffers(const Network& network)
        : gradient(network.flat_size() + network.tied_size()),
          progress(1),
          norm_partials(kNormBlocks),
          begun(1),
          seen(2) {}

    DeviceArray<float> gradient;
    DeviceArray<Progress> progress;
    DeviceArray<double> norm_partials;
    PinnedArray<Progress> begun;       // what progress begins with
    PinnedArray<Progress> seen;        // copies of it, in turn
    Event looked[2];                   // when the copies are there
    PinnedArray<float> reduced;        // the gradient on its way through a reducer
    std::optional<PartBuffers> parts;  // of all layers, for two kernels
    NumberBuffers table;
    NumberBuffers numbers;  // of a batch that goes through in pieces
    std::optional<StepGraph> graph;
};

struct Parameters {
    float* params;
    float* m;
    float* v;
    const WeightPlanes* planes;

    Weights weights() const { return {params, planes}; }
};

class StepLoop {
public:
    // held: the rows on the device, or null; they are rows `first` and on of them.
    StepLoop(const Network& network, const Limits& limits, const Plan& plan, Parameters parameters,
             const RowSource& source, const HeldRows* held, std::int64_t first, const StepRange& range,
             const UpdateRule& rule, Reducer* reducer, Stop& stop, const Workspace& work, std::int64_t piece,
             RangeBuffers& buffers, const Stream& stream);

    Totals run();

private:
    struct Sums {
        double loss = 0.0;  // known where there is a reducer
        double weight = 0.0;
        double penalty = 0.0;  // likewise
    };

    void begin();
    // How many steps from this one on are to be launched together, 1 where not as a graph.
    std::int64_t steps_together(std::int64_t step) const;
    void launch_graph();
    std::int64_t rows_of(std::int64_t step) const {
        const std::int64_t left = static_cast<std::int64_t>(range_.rows.size()) - step * range_.batch_size;
        return left < range_.batch_size ? left : range_.batch_size;
    }
    // One step, the graph's being step 0; false where a reducer found that it diverged.
    bool queue_step(std::int64_t step);
    void queue_gradient(std::int64_t step);
    bool reduce(std::int64_t step);
    void queue_update();
    bool stop_requested(std::int64_t step);
    // Looks, every few steps, at how far the device had come a look ago.
    bool seen_diverged(std::int64_t steps_queued);
    Progress progress();
    Totals totals(Totals counted);

    const Network& network_;
    const Limits& limits_;
    const Plan& plan_;
    Parameters parameters_;
    const StepRange& range_;
    const UpdateRule& rule_;
    Reducer* reducer_;
    Stop& stop_;
    const Workspace& work_;
    std::int64_t piece_;  // the most rows that go through at a time
    RangeBuffers& buffers_;
    const Stream& stream_;
    StepTables tables_;
    std::unique_ptr<Feed> feed_;  // null where the table has all that a step needs
    BatchRows rows_;              // then the rows of every step
    std::optional<TwoKernelsStep> two_kernels_;
    std::int64_t steps_a_look_;
    std::int64_t looks_ = 0;
    std::int64_t looked_after_ = 0;  // so many steps
    std::vector<Sums> queued_;
    std::exception_ptr exception_;  // from Stop, for the caller
    Drain drain_;                   // goes first
};

}  // namespace isthmus::cuda
