// SPDX-License-Identifier: Apache-2.0
// Eight rows to a block, a warp across each: neighbours read neighbours in wide and in narrow matrices. The least
// number wins a search, so that the answer does not depend on who comes first; an atomic is spent on a bad value alone.
#include <cfloat>

#include "cuda/elements.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/launch.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kRows = 8;
constexpr int kLanes = 32;

struct Half {
    std::uint16_t bits;
};
struct Brain {
    std::uint16_t bits;
};

template <class T>
__device__ __forceinline__ float to_float(T value) {
    return static_cast<float>(value);
}
template <>
__device__ __forceinline__ float to_float(Brain value) {
    return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
// Exact. Half's denormals are made as integers: float's, which they would pass through otherwise, count as 0 here.
template <>
__device__ __forceinline__ float to_float(Half value) {
    const unsigned sign = (value.bits & 0x8000U) << 16;
    const unsigned exponent = value.bits >> 10 & 0x1fU;
    const unsigned fraction = value.bits & 0x3ffU;
    if (exponent == 0) {
        const float size = static_cast<float>(fraction) * 0x1p-24F;
        return __uint_as_float(__float_as_uint(size) | sign);
    }
    const unsigned wide = exponent == 0x1fU ? 0xffU : exponent + 112U;  // 127 - 15
    return __uint_as_float(sign | wide << 23 | fraction << 13);
}

template <class T>
__device__ __forceinline__ double to_double(T value) {
    return static_cast<double>(value);
}
template <>
__device__ __forceinline__ double to_double(Brain value) {
    return static_cast<double>(to_float(value));
}
template <>
__device__ __forceinline__ double to_double(Half value) {
    return static_cast<double>(to_float(value));
}

// f(row, column) for the columns below `cols` of all rows.
template <class F>
__device__ __forceinline__ void for_each_element(std::int64_t rows, std::int64_t cols, F&& f) {
    for (std::int64_t r = std::int64_t{blockIdx.x} * kRows + threadIdx.y; r < rows;
         r += std::int64_t{gridDim.x} * kRows) {
        for (std::int64_t j = threadIdx.x; j < cols; j += kLanes) f(r, j);
    }
}

__device__ __forceinline__ bool within(float value, float low, float high) { return value >= low && value <= high; }

__global__ void search_rows(SearchArgs s) {
    FoundAt first = kNowhere;
    for_each_element(s.n, s.cols, [&](std::int64_t r, std::int64_t j) {
        if (first == kNowhere && !within(s.rows[r * s.stride + j], s.low, s.high)) {
            first = static_cast<FoundAt>(r * s.cols + j);  // a thread's own come in order
        }
    });
    if (first != kNowhere) atomicMin(s.found, first);
}

template <class From>
__global__ void convert_rows(ConvertArgs c) {
    const auto* const from = static_cast<const From*>(c.from.data);
    FoundAt first = kNowhere;
    if (c.wide != nullptr) {
        for_each_element(c.from.rows, c.from.cols, [&](std::int64_t r, std::int64_t j) {
            c.wide[r * c.stride + j] = to_double(from[r * c.from.row_stride + j * c.from.col_stride]);
        });
        return;
    }
    for_each_element(c.from.rows, c.stride, [&](std::int64_t r, std::int64_t j) {
        const bool inside = j < c.from.cols;
        const float value = inside ? to_float(from[r * c.from.row_stride + j * c.from.col_stride]) : 0.0F;
        if (first == kNowhere && !within(value, -FLT_MAX, FLT_MAX)) first = static_cast<FoundAt>(r * c.from.cols + j);
        c.to[r * c.stride + j] = value;
    });
    if (first != kNowhere) atomicMin(c.found, first);
}

__global__ void negate_all(const double* from, double* to, std::int64_t n) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        to[i] = -from[i];
    }
}

dim3 blocks_of(std::int64_t rows) {
    constexpr std::int64_t kMost = 4096;
    const std::int64_t blocks = (rows + kRows - 1) / kRows;
    return dim3(static_cast<unsigned>(blocks < kMost ? blocks : kMost));
}

template <class From>
void launch_convert(const ConvertArgs& args, cudaStream_t stream) {
    launch(convert_rows<From>, blocks_of(args.from.rows), dim3(kLanes, kRows), 0, stream, args);
}

}  // namespace

void search(const SearchArgs& args, cudaStream_t stream) {
    launch(search_rows, blocks_of(args.n), dim3(kLanes, kRows), 0, stream, args);
}

void negate(const double* from, double* to, std::int64_t n, cudaStream_t stream) {
    launch(negate_all, dim3(blocks_for(n)), dim3(256), 0, stream, from, to, n);
}

void convert(const ConvertArgs& args, cudaStream_t stream) {
    switch (args.from.type) {
        case ElementType::boolean:
        case ElementType::uint8: return launch_convert<std::uint8_t>(args, stream);
        case ElementType::int8: return launch_convert<std::int8_t>(args, stream);
        case ElementType::int16: return launch_convert<std::int16_t>(args, stream);
        case ElementType::int32: return launch_convert<std::int32_t>(args, stream);
        case ElementType::int64: return launch_convert<std::int64_t>(args, stream);
        case ElementType::uint16: return launch_convert<std::uint16_t>(args, stream);
        case ElementType::uint32: return launch_convert<std::uint32_t>(args, stream);
        case ElementType::uint64: return launch_convert<std::uint64_t>(args, stream);
        case ElementType::float16: return launch_convert<Half>(args, stream);
        case ElementType::bfloat16: return launch_convert<Brain>(args, stream);
        case ElementType::float32: return launch_convert<float>(args, stream);
        case ElementType::float64: return launch_convert<double>(args, stream);
    }
}

}  // namespace isthmus::cuda
