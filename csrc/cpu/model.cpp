// SPDX-License-Identifier: Apache-2.0
#include "cpu/model.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "cpu/cpu.hpp"
#include "cpu/passes.hpp"
#include "cpu/step.hpp"
#include "cpu/team.hpp"
#include "cpu/tied.hpp"
#include "cpu/weight_gradients.hpp"

namespace isthmus::cpu {

CpuModel::CpuModel(const Program& program, const CompileOptions& options)
    : network_(program, active_instruction_set(), active_products(options.precision)), options_(options) {
    write({});
}

void CpuModel::write(const Tensors& tensors) {
    if (replica_) replica_->current = false;
    const int threads = copy_threads();
    network_.pack(tensors.params, flat_.params, threads);
    network_.pack(tensors.m, flat_.m, threads);
    network_.pack(tensors.v, flat_.v, threads);
    network_.copy_weights(flat_.params, copies_);
}

void CpuModel::read(Tensors& tensors) const {
    read_flat(flat_.params, tensors.params);
    read_flat(flat_.m, tensors.m);
    read_flat(flat_.v, tensors.v);
}

void CpuModel::write_parameters(const std::vector<float>& params) {
    if (replica_) replica_->current = false;
    network_.pack(params, flat_.params, copy_threads());
    network_.copy_weights(flat_.params, copies_);
}

void CpuModel::read_parameters(std::vector<float>& params) const { read_flat(flat_.params, params); }

void CpuModel::read_flat(const Buffer& from, std::vector<float>& to) const {
    to.resize(static_cast<std::size_t>(network_.contract_size()));
    network_.unpack(from, to, copy_threads());
}

void CpuModel::copy(const Flat& from, Flat& to) const {
    for (const auto& pair : {std::pair{&from.params, &to.params}, {&from.m, &to.m}, {&from.v, &to.v}}) {
        const Buffer* const source = pair.first;  // clang before 16 captures no structured binding
        Buffer* const target = pair.second;
        if (target->size() != source->size()) *target = Buffer(source->size());
        run_team(copy_threads(), [&](const Member& me) {
            const std::int64_t begin = me.begin(source->size());
            std::copy(source->data() + begin, source->data() + me.end(source->size()), target->data() + begin);
        });
    }
}

void CpuModel::keep() { copy(flat_, kept_); }

void CpuModel::rollback() {
    if (replica_) replica_->current = false;
    copy(kept_, flat_);
    network_.copy_weights(flat_.params, copies_);
}

// For what only moves the parameters about: a thread for each 4 MB.
int CpuModel::copy_threads() const { return threads_for(static_cast<double>(network_.flat_size()), thread_limit()); }

int CpuModel::thread_limit() const { return options_.n_threads > 0 ? options_.n_threads : default_threads(); }

Totals CpuModel::train(const RowSource& source, const StepRange& range, const UpdateRule& rule, Reducer* reducer,
                       Stop& stop) {
    const std::int64_t batch = std::min<std::int64_t>(range.batch_size, static_cast<std::int64_t>(range.rows.size()));
    const std::int64_t piece = std::min(batch, kPieceRows);
    // Forward, weight gradient and input gradient: three products, two operations each.
    const double flops = 6.0 * static_cast<double>(network_.multiply_adds()) * static_cast<double>(batch);
    const bool split = options_.step_plan == StepPlan::split || reducer != nullptr || rule.clip_norm || batch > piece ||
                       network_.tied();
    const bool replicated = !split && network_.code() == nullptr && thread_limit() >= ReplicaRunner::kThreads &&
                            rows_summed_first(network_, batch) < batch;
    const int threads = replicated ? ReplicaRunner::kThreads : threads_for(flops, thread_limit(), kStepFlopsPerThread);
    last_plan_ = (replicated ? "fused, the weights in each thread, "
                  : split    ? "split, "
                             : "fused, ") +
                 std::to_string(threads) + (threads == 1 ? " thread" : " threads");
    const bool clean = source.sparse && range.noise.amount != 0.0F;
    if (!workspace_ || !workspace_->has_room(piece, threads, clean)) {
        workspace_.reset();
        workspace_ = std::make_unique<Workspace>(network_, piece, threads, clean);
    }
    if (split && gradient_.size() == 0) gradient_ = Buffer(network_.flat_size());

    const StepParameters parameters{flat_.params.data(), flat_.m.data(), flat_.v.data(), copies_.data()};
    if (replica_ && !replicated) replica_->current = false;
    if (replicated) {
        const std::int64_t half = (workspace_->rows + 1) / 2;
        if (!replica_ || !replica_->work.has_room(half, 1, clean)) {
            replica_.reset();
            replica_ = std::make_unique<Replica>(network_, half, clean);
        }
        return ReplicaRunner(network_, parameters, source, range, rule, stop, *workspace_, *replica_).run();
    }
    return StepRunner(network_, parameters, source, range, rule, split ? gradient_.data() : nullptr, reducer, stop,
                      *workspace_)
        .run(threads);
}

Totals CpuModel::gradient(const RowSource& source, std::span<float> flat) const {
    const std::int64_t n = source.rows();
    Buffer gradient(network_.flat_size());
    std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
    std::iota(rows.begin(), rows.end(), std::int64_t{0});
    Sums sums;
    const double flops = 6.0 * static_cast<double>(network_.multiply_adds()) * static_cast<double>(n);
    const int threads = threads_for(flops, thread_limit());
    Workspace work(network_, std::min(n, kPieceRows), threads);
    run_team(threads, [&](const Member& me) {
        const GradientSum sum{network_, {flat_.params.data(), copies_.data()}, source, Noise{}, work, gradient.data()};
        sum.run(me, rows, sums);
        add_tied_gradients(network_, gradient.data(), me);
    });
    std::fill(flat.begin(), flat.end(), 0.0F);
    network_.unpack(gradient, flat, copy_threads());
    return {sums.loss, sums.weight, sums.penalty, 1, Status::complete};
}

Inference CpuModel::inference() const {
    return {network_, {flat_.params.data(), copies_.data()}, scratch_, thread_limit()};
}

bool CpuModel::run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const {
    return inference().run(first_op, last_op, rows, out);
}

void CpuModel::row_errors(const RowSource& source, std::span<double> errors,
                          std::optional<MutableMatrixView> per_feature, Memory /*memory*/) const {
    inference().row_errors(source, errors, per_feature);
}

// Scratch of its own, which no other call can take.
class CpuModel::CpuRunner final : public Runner {
public:
    CpuRunner(const CpuModel& model, std::int64_t max_rows, int n_threads)
        : model_(model),
          n_threads_(n_threads),
          scratch_(Inference::most_scratch(model.network_, max_rows, n_threads)) {}

    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) override {
        return inference().run(first_op, last_op, rows, out);
    }
    void row_errors(const RowSource& source, std::span<double> errors,
                    std::optional<MutableMatrixView> per_feature) override {
        inference().row_errors(source, errors, per_feature);
    }

private:
    Inference inference() {
        return {model_.network_, {model_.flat_.params.data(), model_.copies_.data()}, scratch_, n_threads_};
    }

    const CpuModel& model_;
    int n_threads_;
    ScratchPool scratch_;
};

std::unique_ptr<Runner> CpuModel::runner(std::int64_t max_rows, int n_threads) const {
    return std::make_unique<CpuRunner>(*this, max_rows, n_threads > 0 ? n_threads : default_threads());
}

}  // namespace isthmus::cpu
