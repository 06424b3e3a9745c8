// SPDX-License-Identifier: Apache-2.0
// What the tests of the CUDA device's plans share: a plan without a device, training by a plan that is forced, results
// compared bit by bit.
#pragma once

#include <algorithm>
#include <memory>

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
    return a.loss_sum == b.loss_sum && a.weight_sum == b.weight_sum && a.penalty_sum == b.penalty_sum &&
           a.steps_done == b.steps_done && a.status == b.status;
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

// A model and the ranges that it is trained on, one after another.
class Training {
public:
    Training(const Program& program, const RowSource& source, const UpdateRule& rule,
             const CompileOptions& options = {})
        : source_(source), rule_(rule), model_(gpu().compile(program, options)) {
        model_->write({initial_weights(program, 7), {}, {}});
        source_.resident = model_->hold(source);
    }

    Model& model() { return *model_; }
    Totals run(const StepRange& range, Stop& stop) { return model_->train(source_, range, rule_, nullptr, stop); }
    Totals run(const StepRange& range) {
        Never never;
        return run(range, never);
    }

    // The same in ranges of so few steps that no graph is made of them.
    Totals run_in_pieces(const StepRange& range, std::int64_t steps = 5) {
        Totals all;
        all.loss_sum = range.loss_sum;
        all.weight_sum = range.weight_sum;
        for (std::int64_t step = 0; step < range.steps() && all.status == Status::complete; step += steps) {
            StepRange piece = range;
            const auto first = static_cast<std::size_t>(step);
            const auto size = static_cast<std::size_t>(range.batch_size);
            const auto count = static_cast<std::size_t>(std::min(steps, range.steps() - step));
            piece.first_step += step;
            piece.rows = range.rows.subspan(first * size, std::min(count * size, range.rows.size() - first * size));
            piece.learning_rates = range.learning_rates.subspan(first, count);
            piece.loss_sum = all.loss_sum;
            piece.weight_sum = all.weight_sum;
            piece.penalty_sum = all.penalty_sum;
            const Totals totals = run(piece);
            all = {totals.loss_sum, totals.weight_sum, totals.penalty_sum, all.steps_done + totals.steps_done,
                   totals.status};
        }
        return all;
    }

    Tensors tensors() const {
        Tensors all;
        model_->read(all);
        return all;
    }

private:
    RowSource source_;
    UpdateRule rule_;
    std::unique_ptr<Model> model_;
};

}  // namespace fixture
