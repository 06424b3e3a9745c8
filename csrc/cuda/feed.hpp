// SPDX-License-Identifier: Apache-2.0
// Where a batch's rows come from: a copy of all rows that is on the device, or the host, piece by piece.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cuda/buffer.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/network.hpp"
#include "cuda/stream.hpp"
#include "cuda/transfer.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// Does any of its matrices lie in the device's memory?
inline bool on_device(const RowSource& source) {
    return source.inputs.memory == Memory::device || (source.targets && source.targets->memory == Memory::device);
}

// A source's rows on the device: copies, or the caller's own where those can serve as they are.
class HeldRows {
public:
    HeldRows(const RowSource& source, PinnedPair<float>& pinned, cudaStream_t stream);

    // What a copy of the host's source takes.
    static std::int64_t bytes(const RowSource& source);

    BatchRows rows(std::int64_t first) const;
    bool in_place() const { return in_place_; }  // whoever reads the caller's memory waits for it first

private:
    bool in_place_;
    std::int64_t stride_;
    DeviceArray<float> inputs_, targets_, weights_;  // empty for what is the caller's
    BatchRows rows_;
};

// The rows of a range, in order, a piece at a time.
class Feed {
public:
    virtual ~Feed() = default;
    // The next `count` rows, valid for kernels that are queued on the feed's stream before `release`.
    virtual BatchRows next(std::int64_t count) = 0;
    virtual void release() {}
};

// Row numbers on their way to the device, kept from one range to the next: pinned memory takes long to come by.
struct NumberBuffers {
    PinnedPair<std::int64_t> pinned;
    DeviceArray<std::int64_t> device;
};

// From rows on the device: only row numbers are copied, many pieces' at a time.
class HeldFeed final : public Feed {
public:
    // keys: as RowSource has them. piece: the most rows that next is asked for. The buffers' last user must be done.
    HeldFeed(const HeldRows& held, std::int64_t first, std::span<const std::int64_t> numbers, const std::int64_t* keys,
             std::int64_t piece, NumberBuffers& buffers, cudaStream_t stream);
    BatchRows next(std::int64_t count) override;

private:
    const HeldRows& held_;
    std::int64_t first_;
    std::span<const std::int64_t> numbers_;
    const std::int64_t* keys_;
    std::int64_t most_;
    NumberBuffers& buffers_;
    cudaStream_t stream_;
    std::int64_t at_ = 0;               // of numbers_: where the next piece begins
    std::int64_t begin_ = 0, end_ = 0;  // of numbers_: what is on the device, their keys after them
};

// From the host: a piece is copied while the one before it is computed on. Of sparse rows what is stored is copied, and
// they get their zeros on the device.
class StreamedFeed final : public Feed {
public:
    // piece: the most rows that next is asked for.
    StreamedFeed(const RowSource& source, std::span<const std::int64_t> numbers, std::int64_t piece,
                 cudaStream_t stream);
    BatchRows next(std::int64_t count) override;
    void release() override;

private:
    BatchRows next_sparse(std::int64_t count);

    struct Slot {
        DeviceArray<float> rows;
        DeviceArray<float> stored;          // entries of sparse rows: values, columns, and the weights
        DeviceArray<std::int64_t> numbers;  // and, of sparse rows, offsets
        Event copied, released;
    };

    const RowSource& source_;
    std::span<const std::int64_t> left_;
    std::int64_t piece_;
    cudaStream_t stream_;
    Stream copies_;
    PinnedPair<float> pinned_rows_;
    PinnedPair<std::int64_t> pinned_numbers_;
    Slot slots_[2];
    unsigned next_ = 0;
    Drain drain_{copies_};  // goes first
};

}  // namespace isthmus::cuda
