// SPDX-License-Identifier: Apache-2.0
// A zeroed, 64-byte-aligned array of floats that owns its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace isthmus::cpu {

class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::int64_t size) : size_(size) {
        if (size == 0) return;
        const auto bytes = static_cast<std::size_t>(size) * sizeof(float);
        data_ = static_cast<float*>(::operator new(bytes, std::align_val_t{64}));
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
    ~Buffer() { ::operator delete(data_, std::align_val_t{64}); }

    float* data() { return data_; }
    const float* data() const { return data_; }
    std::int64_t size() const { return size_; }

    void copy_from(const Buffer& other) {
        if (size_ != other.size_) *this = Buffer(other.size_);
        if (size_ != 0) std::memcpy(data_, other.data_, static_cast<std::size_t>(size_) * sizeof(float));
    }

private:
    float* data_ = nullptr;
    std::int64_t size_ = 0;
};

}  // namespace isthmus::cpu
