// SPDX-License-Identifier: Apache-2.0
// The fused plan of a small network on two threads: each has the parameters and moments for itself.
//
// half of the rows: forward, backward, weight gradients | barrier | sum of both halves' gradients, update of all.
// One barrier a step, and only the sums cross between the cores; the update, done twice, costs less than handing over
// what half of it has changed. The same operations in the same order as on one thread, so the same bits: see
// rows_summed_first.
#pragma once

#include <cstdint>
#include <exception>
#include <span>

#include "cpu/buffer.hpp"
#include "cpu/network.hpp"
#include "cpu/step.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// What the second thread has for itself and what the two hand over, kept from one range of steps to the next.
struct Replica {
    // What one thread hands to the other at the barrier. A step writes one of two sets of them, the next one the
    // other: a thread that is ahead must not change what the other still reads. What is written in every step shares no
    // cache line with what is only read.
    struct Part {
        Buffer gradient;
        alignas(64) double loss = 0.0;
    };
    struct Exchange {
        Part parts[2];
        alignas(64) bool stopped = false;
    };

    Replica(const Network& network, std::int64_t rows, bool clean);

    // A workspace of its own: where both threads wrote to one, each at rows of its own, the hardware's prefetcher ran
    // on from the first's rows into the second's and took their cache lines away (8.8 us a step of 30-16-8-16-30
    // instead of 8.0).
    Workspace work;
    Buffer state;  // params, m, v and copies, one after another
    // Is state what the model has? To bring it takes 4 us, a fifth of an epoch of ten batches with all that begins one;
    // after a range both threads have the same.
    bool current = false;
    Exchange exchanges[2];
};

class ReplicaRunner {
public:
    static constexpr int kThreads = 2;

    // Rows of `work` and, half as many, of the replica's workspace hold a batch.
    ReplicaRunner(const Network& network, StepParameters parameters, const RowSource& source, const StepRange& range,
                  const UpdateRule& rule, Stop& stop, Workspace& work, Replica& replica);

    Totals run();

private:
    using Part = Replica::Part;
    using Exchange = Replica::Exchange;

    // The second thread's own.
    StepParameters replicated();
    void run_member(const Member& me);
    bool stop_requested();
    // Loss and gradient of some rows of a batch; those of the next are where they will be wanted.
    void sum_part(Part& part, Weights weights, const Batches& batch, int thread);
    // With the gradient of one part or of both; false when a parameter is no longer finite.
    bool update(const StepParameters& parameters, const Exchange& exchange, bool both,
                const math::UpdateConstants& constants, float scale);

    const Network& network_;
    StepParameters parameters_;
    const RowSource& source_;
    const StepRange& range_;
    const UpdateRule& rule_;
    Stop& stop_;
    Workspace& work_;
    Replica& replica_;
    Totals totals_;  // the first thread's
    std::exception_ptr exception_;
};

}  // namespace isthmus::cpu
