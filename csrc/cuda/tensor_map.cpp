// SPDX-License-Identifier: Apache-2.0
#include "cuda/tensor_map.hpp"

#include <cuda_runtime.h>

#include <string>

#include "cuda/launch.hpp"

namespace isthmus::cuda {

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
    constexpr const char* kName = "cuTensorMapEncodeTiled";
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    constexpr unsigned kVersion = 12000;  // whose interface is wanted
    check(cudaGetDriverEntryPointByVersion(kName, &function, kVersion, cudaEnableDefault, &found),
          "cudaGetDriverEntryPointByVersion");
#else
    check(cudaGetDriverEntryPoint(kName, &function, cudaEnableDefault, &found), "cudaGetDriverEntryPoint");
#endif
    if (found != cudaDriverEntryPointSuccess || function == nullptr) {
        throw Error(ErrorKind::runtime, std::string("the CUDA driver has no ") + kName);
    }
    return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap tensor_map(const Planes& planes, int plane, std::int64_t rows, std::int64_t cols, int box_rows) {
    static const Encode encode = find_encode();
    const cuuint64_t dims[] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
    const cuuint64_t strides[] = {static_cast<cuuint64_t>(planes.stride) * sizeof(Bfloat16)};
    const cuuint32_t box[] = {64, static_cast<cuuint32_t>(box_rows)};
    const cuuint32_t element_strides[] = {1, 1};
    CUtensorMap map;
    const CUresult result =
        encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, planes.data + plane * planes.plane, dims, strides, box,
               element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) {
        throw Error(ErrorKind::runtime, "cuTensorMapEncodeTiled failed with " +
                                            std::to_string(static_cast<int>(result)) + " for " + std::to_string(rows) +
                                            " x " + std::to_string(cols) + " bfloat16 with stride " +
                                            std::to_string(planes.stride));
    }
    return map;
}

}  // namespace isthmus::cuda
