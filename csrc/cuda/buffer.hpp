// SPDX-License-Identifier: Apache-2.0
// Arrays on the device and pinned arrays on the host that free their memory with their owner. Neither is initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace isthmus::cuda {

// Error(memory) names the bytes asked and those free.
void* allocate_device(std::size_t bytes);
void* allocate_pinned(std::size_t bytes);
// Never throw: what a dead device says on the way out is nobody's business.
void free_device(void* memory) noexcept;
void free_pinned(void* memory) noexcept;

template <class T, void* (*allocate)(std::size_t), void (*release)(void*) noexcept>
class Array {
public:
    Array() = default;
    explicit Array(std::int64_t size)
        : data_(size > 0 ? static_cast<T*>(allocate(static_cast<std::size_t>(size) * sizeof(T))) : nullptr),
          size_(size) {}
    Array(Array&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Array& operator=(Array&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() {
        if (data_ != nullptr) release(data_);
    }

    // At least `size` long, the contents lost. The old memory is given back first: both may not fit.
    void grow(std::int64_t size) {
        if (size <= size_) return;
        {
            const Array old = std::exchange(*this, Array());
        }
        *this = Array(size);
    }

    T* data() const { return data_; }
    std::int64_t size() const { return size_; }
    std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

private:
    T* data_ = nullptr;
    std::int64_t size_ = 0;
};

template <class T>
using DeviceArray = Array<T, allocate_device, free_device>;
template <class T>
using PinnedArray = Array<T, allocate_pinned, free_pinned>;

}  // namespace isthmus::cuda
