// SPDX-License-Identifier: Apache-2.0
// Floor 2: arrays that live in a device's own memory, for callers who have their rows there already. The host never
// touches an element; what it wants to know of them it asks here.
//
// One rule of order: everything that reads memory of a caller waits for what is in stream() at that moment. Who made
// the array puts its work before that stream, by DLPack's `stream` argument or by `follow`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "isthmus/types.hpp"

namespace isthmus {

// The least stride of rows in device memory; see MatrixView.
constexpr std::int64_t device_stride(std::int64_t cols) { return (cols + 3) / 4 * 4; }

struct Position {
    std::int64_t row = 0;
    std::int64_t col = 0;
};

enum class ElementType : std::uint8_t {
    boolean,  // a byte
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float16,
    bfloat16,
    float32,
    float64,
};

// A matrix as somebody else laid it out, in device memory: strides in elements, of any sign.
struct Elements {
    const void* data = nullptr;
    ElementType type = ElementType::float32;
    std::int64_t rows = 0, cols = 0;
    std::int64_t row_stride = 0, col_stride = 0;
};

// Calls may come from many threads at once, whichever device is current; that stays as it was. All are done when they
// return, but for what they wait for.
class DeviceMemory {
public:
    virtual ~DeviceMemory() = default;

    // Any thread may let go of it, at any time. Error(memory) names the bytes asked and those free.
    virtual std::shared_ptr<void> allocate(std::int64_t bytes) const = 0;

    // The device's number among its kind, and that of the device whose memory `data` is in; -1 for the host's.
    virtual int ordinal() const = 0;
    virtual int ordinal_of(const void* data) const = 0;

    // Calls body with this device current, and puts back the one that was.
    virtual void while_current(const std::function<void()>& body) const = 0;

    // As the device's runtime numbers streams.
    virtual std::uintptr_t stream() const = 0;
    // What is in that other stream now comes before whatever comes into stream() from now on.
    virtual void follow(std::uintptr_t other) const = 0;

    // The elements as float32, with zeros up to to's stride, or as float64, without gaps. Returns the first in row
    // order that is not finite as a float32.
    virtual std::optional<Position> convert(const Elements& from, MutableMatrixView to) const = 0;
    virtual void widen(const Elements& from, double* to) const = 0;
    // to[i] = -from[i]
    virtual void negate(const double* from, double* to, std::int64_t n) const = 0;

    // The first value in row order that is not within [low, high]; a NaN never is.
    virtual std::optional<Position> find_outside(MatrixView rows, float low, float high) const = 0;

    // Row i of `to` is row numbers[i] of `from`, with zeros up to to's stride.
    virtual void gather(MatrixView from, std::span<const std::int64_t> numbers, MutableMatrixView to) const = 0;

    // From and to wherever they are.
    virtual void copy(void* to, const void* from, std::int64_t bytes) const = 0;
};

}  // namespace isthmus
