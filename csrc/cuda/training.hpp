// SPDX-License-Identifier: Apache-2.0
// A range of steps. The host queues them one after another and looks at the device every few: what a step needs to know
// of the one before is on the device, and a step after one that diverged changes nothing.
#pragma once

#include <cstdint>
#include <exception>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/feed.hpp"
#include "cuda/passes.hpp"
#include "cuda/stream.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// What a range needs besides the workspace, kept from one to the next.
struct RangeBuffers {
    explicit RangeBuffers(std::int64_t flat_size)
        : gradient(flat_size), progress(1), norm_partials(kNormBlocks), begun(1), seen(2) {}

    DeviceArray<float> gradient;
    DeviceArray<Progress> progress;
    DeviceArray<double> norm_partials;
    PinnedArray<Progress> begun;  // what progress begins with
    PinnedArray<Progress> seen;   // copies of it, in turn
    Event looked[2];              // when the copies are there
    PinnedArray<float> reduced;   // the gradient on its way through a reducer
    NumberBuffers numbers;
};

struct Parameters {
    float* params;
    float* m;
    float* v;
    const WeightPlanes* planes;

    Weights weights() const { return {params, planes}; }
};

// The sum of the weights of a step's rows, and the constants of its update.
double batch_weight(const RowSource& source, const StepRange& range, std::int64_t step);
math::UpdateConstants update_constants(const UpdateRule& rule, const StepRange& range, std::int64_t step);

class StepLoop {
public:
    StepLoop(const Network& network, const Limits& limits, Parameters parameters, const RowSource& source,
             const StepRange& range, const UpdateRule& rule, Reducer* reducer, Stop& stop, Feed& feed,
             const Workspace& work, std::int64_t piece, RangeBuffers& buffers, const Stream& stream);

    Totals run();

private:
    struct Sums {
        double loss = 0.0;  // known where there is a reducer
        double weight = 0.0;
    };

    Sums queue_gradient(std::int64_t step);
    Sums reduce(Sums sums);
    void queue_update(std::int64_t step, double weight);
    bool stop_requested(std::int64_t step);
    // Looks, at every few steps, at how far the device had come a look ago.
    bool seen_diverged(std::int64_t step);
    Progress progress();

    const Network& network_;
    const Limits& limits_;
    Parameters parameters_;
    const RowSource& source_;
    const StepRange& range_;
    const UpdateRule& rule_;
    Reducer* reducer_;
    Stop& stop_;
    Feed& feed_;
    const Workspace& work_;
    std::int64_t piece_;  // the most rows that go through at a time
    RangeBuffers& buffers_;
    const Stream& stream_;
    std::int64_t steps_a_look_;
    std::int64_t looks_ = 0;
    std::exception_ptr exception_;  // from Stop, for the caller
};

}  // namespace isthmus::cuda
