// SPDX-License-Identifier: Apache-2.0
// A kernel says whether it was compiled for sm_90a. What the runtime says of a kernel, ptxVersion, is 90 for sm_90 too,
// whose code has no wgmma, and there the kernels of wgmma_gemm.cuh trap.
#include "cuda/buffer.hpp"
#include "cuda/launch.hpp"
#include "cuda/ptx/hopper.hpp"
#include "cuda/stream.hpp"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

namespace {

__global__ void is_hopper_code(int* result) {
#if defined(ISTHMUS_HOPPER)
    *result = 1;
#else
    *result = 0;
#endif
}

}  // namespace

bool has_wgmma() {
    const Stream stream;
    const DeviceArray<int> on_device(1);
    int result = 0;
    launch(is_hopper_code, dim3(1), dim3(1), 0, stream, on_device.data());
    copy_async(&result, on_device.data(), 1, stream);
    stream.synchronize();
    return result != 0;
}

}  // namespace isthmus::cuda
