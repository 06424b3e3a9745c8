// SPDX-License-Identifier: Apache-2.0
#include "cuda/memory.hpp"

namespace isthmus::cuda {

CudaMemory::Work& CudaMemory::work() const {
    const std::lock_guard lock(making_);
    if (!work_) work_ = std::make_unique<Work>();
    return *work_;
}

// cudaFree waits until the device is done, so that nobody, on whatever stream, still reads what is given back.
std::shared_ptr<void> CudaMemory::allocate(std::int64_t bytes) const {
    const OnDevice device(ordinal_);
    return {allocate_device(static_cast<std::size_t>(bytes)), free_device};
}

int CudaMemory::ordinal_of(const void* data) const {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, data), "cudaPointerGetAttributes");
    const bool there = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    return there ? attributes.device : -1;
}

void CudaMemory::while_current(const std::function<void()>& body) const {
    const OnDevice device(ordinal_);
    body();
}

std::uintptr_t CudaMemory::stream() const {
    const OnDevice device(ordinal_);
    return reinterpret_cast<std::uintptr_t>(static_cast<cudaStream_t>(work().stream));
}

void CudaMemory::follow(std::uintptr_t other) const {
    const OnDevice device(ordinal_);
    Event event;
    event.record(reinterpret_cast<cudaStream_t>(other));
    event.hold_back(work().stream);
}

void CudaMemory::hold_back(cudaStream_t stream) const {
    Event event;
    event.record(work().stream);
    event.hold_back(stream);
}

template <class Queue>
std::optional<Position> CudaMemory::found(std::int64_t cols, Queue&& queue) const {
    const OnDevice device(ordinal_);
    Work& work = this->work();
    const std::lock_guard lock(working_);
    const Drain drain(work.stream);
    forget(work.found.data(), work.stream);
    queue(work.stream, work.found.data());
    copy_async(work.answer.data(), work.found.data(), 1, work.stream);
    work.stream.synchronize();
    const FoundAt at = *work.answer.data();
    if (at == kNowhere) return std::nullopt;
    return Position{static_cast<std::int64_t>(at) / cols, static_cast<std::int64_t>(at) % cols};
}

std::optional<Position> CudaMemory::convert(const Elements& from, MutableMatrixView to) const {
    return found(from.cols, [&](cudaStream_t stream, FoundAt* at) {
        cuda::convert({from, to.data, to.stride, at, nullptr}, stream);
    });
}

void CudaMemory::widen(const Elements& from, double* to) const {
    const OnDevice device(ordinal_);
    const Drain drain(work().stream);
    cuda::convert({from, nullptr, from.cols, nullptr, to}, work().stream);
    work().stream.synchronize();
}

void CudaMemory::negate(const double* from, double* to, std::int64_t n) const {
    const OnDevice device(ordinal_);
    const Drain drain(work().stream);
    cuda::negate(from, to, n, work().stream);
    work().stream.synchronize();
}

std::optional<Position> CudaMemory::find_outside(MatrixView rows, float low, float high) const {
    return found(rows.cols, [&](cudaStream_t stream, FoundAt* first) {
        search({rows.data, rows.rows, rows.cols, rows.stride, low, high, first}, stream);
    });
}

void CudaMemory::gather(MatrixView from, std::span<const std::int64_t> numbers, MutableMatrixView to) const {
    const OnDevice device(ordinal_);
    const auto n = static_cast<std::int64_t>(numbers.size());
    const Stream& stream = work().stream;
    const DeviceArray<std::int64_t> positions(n);
    BatchRows rows;
    rows.inputs = from.data;
    rows.stride = from.stride;
    rows.positions = positions.data();
    const Drain drain(stream);
    copy_async(positions.data(), numbers.data(), n, stream);
    cuda::gather({rows, n, from.cols, Noise{}, to.data, to.stride, {}}, stream);
    stream.synchronize();
}

void CudaMemory::copy(void* to, const void* from, std::int64_t bytes) const {
    const OnDevice device(ordinal_);
    const Stream& stream = work().stream;
    const Drain drain(stream);
    copy_async(static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, stream);
    stream.synchronize();
}

}  // namespace isthmus::cuda
