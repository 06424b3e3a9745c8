// SPDX-License-Identifier: Apache-2.0
#include "cuda/feed.hpp"

#include <algorithm>
#include <cstring>

#include "cuda/densify.hpp"
#include "cuda/memory.hpp"

namespace isthmus::cuda {

// ---- held ---------------------------------------------------------------------------------------------------------

namespace {

// Inputs and targets are read at the same offsets.
bool serve_in_place(const RowSource& source) {
    return source.inputs.memory == Memory::device &&
           (!source.targets ||
            (source.targets->memory == Memory::device && source.targets->stride == source.inputs.stride));
}

void bring(MatrixView rows, float* to, std::int64_t stride, PinnedPair<float>& pinned, cudaStream_t stream) {
    if (rows.memory == Memory::host) return upload(rows, to, stride, pinned, stream);
    copy_rows_async(to, stride, rows.data, rows.stride, rows.rows, stride, stream);  // and the zeros after each row
}

}  // namespace

HeldRows::HeldRows(const RowSource& source, PinnedPair<float>& pinned, cudaStream_t stream)
    : in_place_(serve_in_place(source)),
      stride_(in_place_ ? source.inputs.stride : row_stride(source.inputs.cols)),
      inputs_(in_place_ ? 0 : source.rows() * stride_),
      targets_(source.targets && !in_place_ ? source.rows() * stride_ : 0),
      weights_(source.weights ? source.rows() : 0) {
    const Drain drain(stream);
    if (!in_place_) {
        bring(source.inputs, inputs_.data(), stride_, pinned, stream);
        if (source.targets) bring(*source.targets, targets_.data(), stride_, pinned, stream);
    }
    if (source.weights) upload({source.weights, source.rows(), 1, 1}, weights_.data(), 1, pinned, stream);
    rows_.inputs = in_place_ ? source.inputs.data : inputs_.data();
    rows_.targets = !source.targets ? rows_.inputs : in_place_ ? source.targets->data : targets_.data();
    rows_.stride = stride_;
    rows_.weights = weights_.data();
    rows_.masked = source.masked;
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

std::int64_t HeldRows::bytes(const RowSource& source) {
    const std::int64_t matrices = source.targets ? 2 : 1;
    const std::int64_t weights = source.weights ? 1 : 0;
    return source.rows() * (matrices * row_stride(source.inputs.cols) + weights) * std::int64_t{sizeof(float)};
}

BatchRows HeldRows::rows(std::int64_t first) const {
    BatchRows rows = rows_;
    rows.first = first;
    return rows;
}

HeldFeed::HeldFeed(const HeldRows& held, std::int64_t first, std::span<const std::int64_t> numbers,
                   const std::int64_t* keys, std::int64_t piece, NumberBuffers& buffers, cudaStream_t stream)
    : held_(held),
      first_(first),
      numbers_(numbers),
      keys_(keys),
      most_(std::min(static_cast<std::int64_t>(numbers.size()), std::max(piece, std::int64_t{1} << 16))),
      buffers_(buffers),
      stream_(stream) {
    buffers_.device.grow(keys == nullptr ? most_ : 2 * most_);
}

BatchRows HeldFeed::next(std::int64_t count) {
    if (at_ + count > end_) {
        // The copy waits in the stream for the kernels that read what it overwrites.
        begin_ = at_;
        end_ = std::min(begin_ + most_, static_cast<std::int64_t>(numbers_.size()));
        const std::int64_t size = keys_ == nullptr ? end_ - begin_ : 2 * (end_ - begin_);
        std::int64_t* const packed = buffers_.pinned.take(size);
        std::copy(numbers_.begin() + begin_, numbers_.begin() + end_, packed);
        for (std::int64_t i = end_ - begin_; i < size; ++i) packed[i] = keys_[packed[i - (end_ - begin_)]];
        buffers_.pinned.copy(buffers_.device.data(), size, stream_);
    }
    BatchRows rows = held_.rows(first_);
    rows.positions = buffers_.device.data() + (at_ - begin_);
    rows.numbers = keys_ == nullptr ? rows.positions : rows.positions + (end_ - begin_);
    at_ += count;
    return rows;
}

// ---- streamed -----------------------------------------------------------------------------------------------------

StreamedFeed::StreamedFeed(const RowSource& source, std::span<const std::int64_t> numbers, std::int64_t piece,
                           cudaStream_t stream)
    : source_(source), left_(numbers), piece_(piece), stream_(stream) {
    const std::int64_t bytes =
        HeldRows::bytes({{nullptr, piece, source.inputs.cols, 0}, source.targets, source.weights});
    for (Slot& slot : slots_) {
        slot.rows = DeviceArray<float>(bytes / std::int64_t{sizeof(float)});
        slot.numbers = DeviceArray<std::int64_t>(source.sparse ? 2 * piece + 1 : piece);
    }
}

BatchRows StreamedFeed::next_sparse(std::int64_t count) {
    const CsrView& rows = *source_.sparse;
    const auto numbers_here = left_.first(static_cast<std::size_t>(count));
    std::int64_t stored = 0;
    for (const std::int64_t number : numbers_here) stored += rows.offsets[number + 1] - rows.offsets[number];
    const std::int64_t size = 2 * stored + (source_.weights ? count : 0);

    // Values, columns and weights in one copy; row numbers and offsets in another.
    Slot& slot = slots_[next_];
    float* const packed = pinned_rows_.take(size);
    auto* const columns = reinterpret_cast<std::int32_t*>(packed + stored);
    std::int64_t* const numbers = pinned_numbers_.take(2 * count + 1);
    std::int64_t* const offsets = numbers + count;
    offsets[0] = 0;
    for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t number = numbers_here[static_cast<std::size_t>(r)];
        numbers[r] = source_.key(number);
        const std::int64_t begin = rows.offsets[number];
        const std::int64_t n = rows.offsets[number + 1] - begin;
        std::copy_n(rows.values + begin, n, packed + offsets[r]);
        std::memcpy(columns + offsets[r], rows.columns + begin, static_cast<std::size_t>(n) * sizeof(std::int32_t));
        offsets[r + 1] = offsets[r] + n;
        if (source_.weights) packed[2 * stored + r] = source_.weights[number];
    }
    left_ = left_.subspan(static_cast<std::size_t>(count));
    if (slot.stored.size() < size) {
        // Not behind kernels that still read it, and seldom: to free memory stops the device.
        slot.released.wait();
        slot.stored.grow(size + size / 4);
    }
    slot.released.hold_back(copies_);
    pinned_rows_.copy(slot.stored.data(), size, copies_);
    pinned_numbers_.copy(slot.numbers.data(), 2 * count + 1, copies_);
    slot.copied.record(copies_);
    slot.copied.hold_back(stream_);

    BatchRows result;
    result.inputs = result.targets = slot.rows.data();
    result.stride = row_stride(source_.inputs.cols);
    result.weights = source_.weights ? slot.stored.data() + 2 * stored : nullptr;
    result.numbers = slot.numbers.data();
    densify({slot.numbers.data() + count, reinterpret_cast<const std::int32_t*>(slot.stored.data() + stored),
             slot.stored.data(), count, slot.rows.data(), result.stride},
            stream_);
    return result;
}

BatchRows StreamedFeed::next(std::int64_t count) {
    if (source_.sparse) return next_sparse(count);
    const std::int64_t stride = row_stride(source_.inputs.cols);
    const std::int64_t inputs = count * stride;
    const std::int64_t targets = source_.targets ? inputs : 0;
    const std::int64_t size = inputs + targets + (source_.weights ? count : 0);

    Slot& slot = slots_[next_];
    float* const packed = pinned_rows_.take(size);
    std::int64_t* const numbers = pinned_numbers_.take(count);
    for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t number = left_[static_cast<std::size_t>(r)];
        numbers[r] = source_.key(number);
        pack_row(source_.inputs.row(number), source_.inputs.cols, stride, packed + r * stride);
        if (source_.targets) {
            pack_row(source_.targets->row(number), source_.inputs.cols, stride, packed + inputs + r * stride);
        }
        if (source_.weights) packed[inputs + targets + r] = source_.weights[number];
    }
    left_ = left_.subspan(static_cast<std::size_t>(count));
    slot.released.hold_back(copies_);
    pinned_rows_.copy(slot.rows.data(), size, copies_);
    pinned_numbers_.copy(slot.numbers.data(), count, copies_);
    slot.copied.record(copies_);
    slot.copied.hold_back(stream_);

    BatchRows rows;
    rows.inputs = slot.rows.data();
    rows.targets = source_.targets ? slot.rows.data() + inputs : rows.inputs;
    rows.stride = stride;
    rows.weights = source_.weights ? slot.rows.data() + inputs + targets : nullptr;
    rows.numbers = slot.numbers.data();
    rows.masked = source_.masked;
    return rows;
}

void StreamedFeed::release() {
    slots_[next_].released.record(stream_);
    next_ ^= 1U;
}

}  // namespace isthmus::cuda
