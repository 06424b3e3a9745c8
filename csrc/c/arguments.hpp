// SPDX-License-Identifier: Apache-2.0
// What comes in through the C interface, checked: pointers, sizes, structs of another version; and where what goes out
// is put.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "core/passage.hpp"
#include "core/table.hpp"
#include "isthmus/isthmus.h"
#include "isthmus/types.hpp"

namespace isthmus::c {

// Throws Error(value) for null.
void check_given(const void* pointer, const char* name);

template <class T>
T& required(T* pointer, const char* name) {
    check_given(pointer, name);
    return *pointer;
}

// Throws Error(value) unless the caller's struct has at least the members of the first version, and nothing but zeros
// in those that this library does not know.
void check_struct(const void* given, std::size_t struct_size, std::size_t first, std::size_t known, const char* name);

// A struct of ours from one of a version before, whose missing members are zero, or from one of a version after.
// `first` is the size of the first version.
template <class T>
T known_part(const T* given, std::size_t first, const char* name) {
    T ours{};
    if (given == nullptr) return ours;
    const std::size_t size = given->struct_size;
    check_struct(given, size, first, sizeof(T), name);
    std::memcpy(&ours, given, std::min(size, sizeof(T)));
    return ours;
}

// Throws Error(value) for null, an unknown type, numbers below 0 and rows beyond what 63 bits can address.
Table table(const isthmus_rows* rows, const char* name);
// Contiguous float32.
Table table(const float* values, std::int64_t rows, std::int64_t cols, const char* name);

// rows x cols, which are at least 0; throws Error(value) for what 63 bits cannot count.
std::size_t number_of(std::int64_t rows, std::int64_t cols, const char* name);
// Throws Error(value) unless there is room for exactly rows x cols numbers.
void check_output(const void* out, std::size_t count, std::int64_t rows, std::int64_t cols, const char* name);
MutableMatrixView output(float* out, std::size_t count, std::int64_t rows, std::int64_t cols, const char* name);
std::span<double> output(double* out, std::size_t count, std::int64_t rows, const char* name);

// Throws Error(value) unless there is room for as many, where there may be more.
void check_capacity(std::size_t capacity, std::size_t needed, const char* name);

// One weight a row, or null.
const float* weights(const float* given, std::size_t count, std::int64_t rows);

// Memory that its caller gives back by isthmus_free; throws std::bad_alloc.
void* allocated(std::size_t bytes);

}  // namespace isthmus::c
