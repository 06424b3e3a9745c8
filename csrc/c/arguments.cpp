// SPDX-License-Identifier: Apache-2.0
#include "c/arguments.hpp"

#include <cstdlib>
#include <new>

namespace isthmus::c {
namespace {

static_assert(static_cast<int>(Number::f32) == ISTHMUS_FLOAT32 && static_cast<int>(Number::i8) == ISTHMUS_INT8 &&
              static_cast<int>(Number::u8) == ISTHMUS_UINT8 && static_cast<int>(Number::u64) == ISTHMUS_UINT64);

constexpr std::int64_t kSizes[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8};  // of isthmus_type, in bytes

[[noreturn]] void refuse(const std::string& sentence) { throw Error(ErrorKind::value, sentence); }

// a * b, or an error: what does not fit 63 bits is in no memory.
std::int64_t product(std::int64_t a, std::int64_t b, const char* name) {
    std::int64_t result = 0;
    if (__builtin_mul_overflow(a, b, &result)) refuse(std::string(name) + " is larger than any memory");
    return result;
}

}  // namespace

void check_given(const void* pointer, const char* name) {
    if (pointer == nullptr) refuse(std::string(name) + " must not be NULL");
}

void check_struct(const void* given, std::size_t struct_size, std::size_t first, std::size_t known, const char* name) {
    if (struct_size < first) {
        refuse(std::string(name) + ".struct_size must be sizeof the struct; got " + std::to_string(struct_size));
    }
    const auto* bytes = static_cast<const unsigned char*>(given);
    for (std::size_t i = known; i < struct_size; ++i) {
        if (bytes[i] == 0) continue;
        refuse(std::string(name) + " sets what this library, isthmus " ISTHMUS_VERSION ", does not have");
    }
}

Table table(const isthmus_rows* given, const char* name) {
    const isthmus_rows& rows = required(given, name);
    check_given(rows.data, name);
    if (rows.type < ISTHMUS_FLOAT32 || rows.type > ISTHMUS_UINT64) {
        refuse(std::string(name) + ".type must be an isthmus_type; got " + std::to_string(rows.type));
    }
    if (rows.rows < 0 || rows.cols < 0) refuse(std::string(name) + " has a negative number of rows or columns");
    const std::int64_t size = kSizes[rows.type];
    const std::int64_t col_bytes = rows.col_bytes != 0 ? rows.col_bytes : size;
    const std::int64_t row_bytes = rows.row_bytes != 0 ? rows.row_bytes : product(rows.cols, size, name);
    product(rows.rows, row_bytes, name);
    product(rows.cols, col_bytes, name);
    product(product(rows.rows, rows.cols, name), 8, name);  // what is made of them
    return {rows.data, static_cast<Number>(rows.type), rows.rows, rows.cols, row_bytes, col_bytes};
}

Table table(const float* values, std::int64_t rows, std::int64_t cols, const char* name) {
    check_given(values, name);
    if (rows < 0) refuse(std::string(name) + " has a negative number of rows");
    product(product(rows, cols, name), 8, name);
    return MatrixView{values, rows, cols, cols};
}

std::size_t number_of(std::int64_t rows, std::int64_t cols, const char* name) {
    return static_cast<std::size_t>(product(rows, cols, name));
}

void check_output(const void* out, std::size_t count, std::int64_t rows, std::int64_t cols, const char* name) {
    const std::size_t needed = number_of(rows, cols, name);
    if (needed != 0) check_given(out, name);
    if (count == needed) return;
    refuse(std::string(name) + " has room for " + std::to_string(count) + " numbers; " + std::to_string(needed) +
           " are needed");
}

MutableMatrixView output(float* out, std::size_t count, std::int64_t rows, std::int64_t cols, const char* name) {
    check_output(out, count, rows, cols, name);
    return {out, rows, cols, cols};
}

std::span<double> output(double* out, std::size_t count, std::int64_t rows, const char* name) {
    check_output(out, count, rows, 1, name);
    return {out, count};
}

void check_capacity(std::size_t capacity, std::size_t needed, const char* name) {
    if (capacity >= needed) return;
    refuse(std::string(name) + " has room for " + std::to_string(capacity) + " numbers; " + std::to_string(needed) +
           " are needed");
}

const float* weights(const float* given, std::size_t count, std::int64_t rows) {
    if (given != nullptr && count != static_cast<std::size_t>(rows)) {
        refuse("sample_weight has " + std::to_string(count) + " values; X has " + std::to_string(rows) + " rows");
    }
    return given;
}

void* allocated(std::size_t bytes) {
    void* const memory = std::malloc(bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace isthmus::c
