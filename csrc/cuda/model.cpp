// SPDX-License-Identifier: Apache-2.0
#include "cuda/model.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "cuda/feed.hpp"
#include "cuda/tied.hpp"

namespace isthmus::cuda {

namespace {

std::int64_t free_bytes() {
    std::size_t free = 0;
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return static_cast<std::int64_t>(free);
}

const HeldRows& held(const std::shared_ptr<const void>& resident) {
    return *static_cast<const HeldRows*>(resident.get());
}

RangeFacts facts_of(const RowSource& source, const StepRange& range, const UpdateRule& rule, const Reducer* reducer) {
    RangeFacts facts;
    facts.rows = static_cast<std::int64_t>(range.rows.size());
    facts.batch_size = range.batch_size;
    facts.optimizer = rule.optimizer;
    facts.targets = source.targets.has_value();
    facts.masked = source.masked;
    facts.weights = source.weights != nullptr;
    facts.noise = range.noise.amount != 0.0F;
    facts.keyed = facts.noise && source.keys != nullptr;
    facts.clipped = rule.clip_norm.has_value();
    facts.reduced = reducer != nullptr;
    return facts;
}

}  // namespace

CudaModel::CudaModel(int ordinal, const CudaMemory& memory, const Limits& limits, const Program& program,
                     Arithmetic arithmetic)
    : ordinal_(ordinal),
      memory_(memory),
      limits_(limits),
      network_(program, arithmetic),
      state_(network_.memory_size()),
      planes_(network_) {
    write({});
}

CudaModel::~CudaModel() = default;

Parameters CudaModel::parameters() const {
    float* const params = state_.data();
    return {params, params + network_.flat_size(), params + 2 * network_.flat_size(), &planes_};
}

void CudaModel::write(const Tensors& tensors) {
    const OnDevice device(ordinal_);
    const Drain drain(stream_);
    float* to = state_.data();
    for (const std::vector<float>* from : {&tensors.params, &tensors.m, &tensors.v}) {
        if (from->empty()) {
            zero_async(to, network_.flat_size(), stream_);
        } else {
            copy_async(to, from->data(), network_.flat_size(), stream_);
        }
        to += network_.flat_size();
    }
    use_parameters();
}

void CudaModel::write_parameters(const std::vector<float>& params) {
    const OnDevice device(ordinal_);
    const Drain drain(stream_);
    copy_async(state_.data(), params.data(), network_.flat_size(), stream_);
    use_parameters();
}

// What follows from the parameters; then they are there for others, which read them on streams of their own.
void CudaModel::use_parameters() {
    copy_tied_weights(network_, state_.data(), stream_);
    planes_.refresh(state_.data(), stream_);
    stream_.synchronize();
}

void CudaModel::read_parameters(std::vector<float>& params) const {
    const OnDevice device(ordinal_);
    const Drain drain(stream_);
    params.resize(static_cast<std::size_t>(network_.flat_size()));
    copy_async(params.data(), state_.data(), network_.flat_size(), stream_);
    stream_.synchronize();
}

void CudaModel::read(Tensors& tensors) const {
    const OnDevice device(ordinal_);
    const Drain drain(stream_);
    const float* from = state_.data();
    for (std::vector<float>* to : {&tensors.params, &tensors.m, &tensors.v}) {
        to->resize(static_cast<std::size_t>(network_.flat_size()));
        copy_async(to->data(), from, network_.flat_size(), stream_);
        from += network_.flat_size();
    }
    stream_.synchronize();
}

void CudaModel::keep() {
    const OnDevice device(ordinal_);
    kept_.grow(network_.state_size());
    copy_async(kept_.data(), state_.data(), network_.state_size(), stream_);
}

void CudaModel::rollback() {
    const OnDevice device(ordinal_);
    copy_async(state_.data(), kept_.data(), network_.state_size(), stream_);
    use_parameters();
}

std::shared_ptr<const void> CudaModel::hold(const RowSource& source) const {
    if (source.sparse) return nullptr;  // a batch at a time
    const OnDevice device(ordinal_);
    const std::lock_guard lock(holding_);
    if (on_device(source)) {
        memory_.hold_back(stream_);
        return std::make_shared<const HeldRows>(source, pinned_, stream_);
    }
    if (!fits(HeldRows::bytes(source), free_bytes())) return nullptr;
    try {
        return std::make_shared<const HeldRows>(source, pinned_, stream_);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::memory) throw;
        return nullptr;  // what was free is in pieces
    }
}

Totals CudaModel::train(const RowSource& source, const StepRange& range, const UpdateRule& rule, Reducer* reducer,
                        Stop& stop) {
    const OnDevice device(ordinal_);
    std::shared_ptr<const void> resident = source.resident;
    const std::int64_t first = resident ? source.resident_row : 0;
    RangeFacts facts = facts_of(source, range, rule, reducer);
    Plan chosen = plan(network_, facts, limits_);
    if (!resident) resident = hold(source);
    if (!resident) {
        facts.held = false;
        chosen = plan(network_, facts, limits_);
    }
    last_plan_ = describe(chosen);
    if (chosen.kind == PlanKind::one_block) {
        return train_in_one_block(chosen.one_block, source, held(resident), first, range, rule, stop);
    }

    const std::int64_t piece = std::min(facts.batch(), piece_rows(network_.floats_a_row(), limits_));
    if (!range_buffers_) {
        auto buffers = std::make_unique<RangeBuffers>(network_);
        // The gaps between parameters stay 0, as a norm and an update want them.
        zero_async(buffers->gradient.data(), network_.flat_size(), stream_);
        range_buffers_ = std::move(buffers);
    }
    if (!workspace_ || workspace_->rows < piece) {
        range_buffers_->graph.reset();  // of the old one
        workspace_.reset();
        workspace_ = std::make_unique<Workspace>(network_, limits_, piece, stream_);
    }
    StepLoop loop(network_, limits_, chosen, parameters(), source, resident ? &held(resident) : nullptr, first, range,
                  rule, reducer, stop, *workspace_, piece, *range_buffers_, stream_);
    return loop.run();
}

Totals CudaModel::train_in_one_block(const OneBlockPlan& plan, const RowSource& source, const HeldRows& held,
                                     std::int64_t first, const StepRange& range, const UpdateRule& rule, Stop& stop) {
    if (!one_block_buffers_) one_block_buffers_ = std::make_unique<OneBlockBuffers>();
    const Drain drain(stream_);
    OneBlockLoop loop(network_, plan, parameters(), source, held, first, range, rule, stop, *one_block_buffers_,
                      stream_);
    return loop.run();
}

Totals CudaModel::gradient(const RowSource& source, std::span<float> flat) const {
    const OnDevice device(ordinal_);
    const std::int64_t n = source.rows();
    const std::int64_t piece = std::min(n, piece_rows(network_.floats_a_row(), limits_));
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(n));
    std::iota(numbers.begin(), numbers.end(), std::int64_t{0});

    const Stream stream;
    const Workspace work(network_, limits_, piece, stream);
    const DeviceArray<float> gradient(network_.flat_size() + network_.tied_size());
    const DeviceArray<Progress> progress(1);
    Progress sums;
    NumberBuffers buffers;
    const std::shared_ptr<const void> resident = on_device(source) ? hold(source) : nullptr;
    const std::unique_ptr<Feed> rows_of_pieces = [&]() -> std::unique_ptr<Feed> {
        if (!resident) return std::make_unique<StreamedFeed>(source, numbers, piece, stream);
        memory_.hold_back(stream);
        return std::make_unique<HeldFeed>(held(resident), 0, numbers, source.keys, piece, buffers, stream);
    }();
    Feed& feed = *rows_of_pieces;
    const Drain drain(stream);
    copy_async(progress.data(), &sums, 1, stream);
    zero_async(gradient.data(), network_.flat_size(), stream);
    const BatchGradient batch{network_,        limits_,         work,  parameters().weights(),
                              gradient.data(), progress.data(), stream};
    for (std::int64_t row = 0; row < n; row += piece) {
        const std::int64_t count = std::min(piece, n - row);
        const BatchGradient::Piece rows{feed.next(count), count, Noise{}, row == 0, row + count == n};
        batch.forward(rows);
        feed.release();
        batch.backward(rows);
    }
    copy_async(flat.data(), gradient.data(), network_.flat_size(), stream);
    copy_async(&sums, progress.data(), 1, stream);
    stream.synchronize();

    Totals totals;
    totals.steps_done = 1;
    totals.loss_sum = sums.step_loss;
    totals.penalty_sum = sums.step_penalty;
    for (std::int64_t row = 0; row < n; ++row) totals.weight_sum += source.weight(row);
    return totals;
}

Inference CudaModel::inference() const { return {network_, limits_, parameters().weights(), lanes_, memory_}; }

bool CudaModel::run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const {
    const OnDevice device(ordinal_);
    return inference().run(first_op, last_op, rows, out);
}

void CudaModel::row_errors(const RowSource& source, std::span<double> errors,
                           std::optional<MutableMatrixView> per_feature, Memory memory) const {
    const OnDevice device(ordinal_);
    if (source.resident || !on_device(source)) return inference().row_errors(source, errors, per_feature, memory);
    RowSource rows = source;
    rows.resident = hold(source);
    rows.resident_row = 0;
    inference().row_errors(rows, errors, per_feature, memory);
}

}  // namespace isthmus::cuda
