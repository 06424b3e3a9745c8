// SPDX-License-Identifier: Apache-2.0
// A zeroed, aligned array of floats that owns its memory. Large ones ask for huge pages: a product walks down the rows
// of a wide matrix, and with pages of 4 KB every row of it is on another one.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace isthmus::cpu {

class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::int64_t size) : size_(size) {
        if (size == 0) return;
        if (size > std::numeric_limits<std::int64_t>::max() / 8) throw std::bad_array_new_length();
        const auto bytes = static_cast<std::size_t>(size) * sizeof(float);
        const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
        const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        data_ = static_cast<float*>(std::aligned_alloc(alignment, rounded));
        if (data_ == nullptr) throw std::bad_alloc();
        if (alignment == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);  // a wish: the pages may stay small
        std::memset(data_, 0, bytes);
    }
    Buffer(Buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    float* data() { return data_; }
    const float* data() const { return data_; }
    std::int64_t size() const { return size_; }

private:
    static constexpr std::size_t kHugePage = std::size_t{1} << 21;

    float* data_ = nullptr;
    std::int64_t size_ = 0;
};

}  // namespace isthmus::cpu
