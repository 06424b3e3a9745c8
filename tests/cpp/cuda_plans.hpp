// SPDX-License-Identifier: Apache-2.0
// What the tests of the CUDA device's plans share: a plan without a device, training by a plan that is forced, results
// compared bit by bit.
#pragma once

#include "cuda/range_plan.hpp"
#include "cuda_fixture.hpp"
#include "math/names.hpp"

namespace fixture {

inline constexpr std::int64_t kShared = 227 * 1024;
inline const cuda::Limits kH200{132, std::int64_t{140} << 30, {}, kShared, {}};

inline cuda::Plan plan_of(const Program& program, std::int64_t rows, std::int64_t batch, const cuda::Limits& limits) {
    cuda::RangeFacts facts;
    facts.rows = rows;
    facts.batch_size = batch;
    return cuda::plan(cuda::Network(program), facts, limits);
}

inline Result train_by(const char* plan, const Program& program, const RowSource& source, const StepRange& range,
                       const UpdateRule& rule = {}) {
    const Variable forced("ISTHMUS_CUDA_PLAN", plan);
    return train(gpu(), program, source, range, rule);
}

inline bool same(const Totals& a, const Totals& b) {
    return a.loss_sum == b.loss_sum && a.weight_sum == b.weight_sum && a.steps_done == b.steps_done &&
           a.status == b.status;
}
inline bool same(const Result& a, const Result& b) {
    return same_tensors(a.tensors, b.tensors) && same(a.totals, b.totals);
}

inline UpdateRule rule_of(Optimizer optimizer) {
    UpdateRule rule;
    rule.optimizer = optimizer;
    rule.momentum = 0.9;
    rule.weight_decay = 0.01;
    return rule;
}

template <class E, class F>
void for_each(F&& f) {
    for (std::size_t i = 0; i < math::names<E>().size(); ++i) f(static_cast<E>(i));
}

}  // namespace fixture
