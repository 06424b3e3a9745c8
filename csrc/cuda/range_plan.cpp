// SPDX-License-Identifier: Apache-2.0
#include "cuda/range_plan.hpp"

#include <algorithm>

#include "cuda/one_block_plan.hpp"

namespace isthmus::cuda {

namespace {

// Why the steps of a range are not captured, or null: a graph's kernels read nothing but device memory, and what
// changes from step to step comes from its table.
const char* no_graph(const Network& network, const RangeFacts& facts, const Limits& limits) {
    if (facts.reduced) return "a reducer is on the host";
    if (!facts.held) return "rows come from the host";
    if (facts.batch() > piece_rows(network.floats_a_row(), limits)) return "a batch is several pieces";
    // Of 6 GFLOP: then the device is always behind the host.
    if (steps_a_look(network.step_flops(facts.batch())) < kStepsAGraph) return "a step is long";
    if (steps_a_table(facts.batch_size) < kStepsAGraph) return "a batch is large";
    if (facts.rows / std::max<std::int64_t>(1, facts.batch_size) <= kStepsAGraph) return "there are few steps";
    return nullptr;
}

}  // namespace

Plan plan(const Network& network, const RangeFacts& facts, const Limits& limits) {
    Plan plan;
    // A kernel of the other plan takes at least 2.5 us, of which there are 3 L + 2.
    const double other = 2.5 * static_cast<double>(3 * network.layers().size() + 2);
    if (limits.plan == PlanKind::layer_by_layer) {
        plan.why = "ISTHMUS_CUDA_PLAN says so";
    } else {
        plan.one_block = plan_one_block(network, facts, limits);
        const char* why = plan.one_block.why_not;
        if (limits.plan == PlanKind::one_block) {
            if (why != nullptr)
                throw Error(ErrorKind::runtime, std::string("ISTHMUS_CUDA_PLAN is one_block, but ") + why);
        } else if (why == nullptr && plan.one_block.microseconds > other) {
            why = "faster on all multiprocessors";
        }
        if (why == nullptr) {
            plan.kind = PlanKind::one_block;
            return plan;
        }
        plan.why = why;
    }
    if (const char* const why = no_graph(network, facts, limits)) {
        plan.why_no_graph = why;
    } else {
        plan.steps_a_graph = kStepsAGraph;
    }
    return plan;
}

std::string describe(const Plan& plan) {
    if (plan.kind == PlanKind::one_block) {
        return "one block: " + std::to_string(plan.one_block.layout.threads) + " threads, " +
               std::to_string((plan.one_block.bytes + 1023) / 1024) + " KB of shared memory";
    }
    const std::string launched = plan.steps_a_graph > 0 ? std::to_string(plan.steps_a_graph) + " steps a graph"
                                                        : std::string("no graph, for ") + plan.why_no_graph;
    return "layer by layer, " + launched + ": " + plan.why;
}

}  // namespace isthmus::cuda
