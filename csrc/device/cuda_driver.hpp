// SPDX-License-Identifier: Apache-2.0
// What NVIDIA's driver says of this machine, asked of libcuda.so.1 itself: the answer for people whose GPU is not used,
// and it must be there whether or not this build has a CUDA part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace isthmus {

struct CudaGpu {
    std::string name;
    int major = 0;  // compute capability
    int minor = 0;
    std::int64_t memory = 0;  // bytes
};

struct CudaDriver {
    std::string error;          // empty: it is there and answers
    int version = 0;            // the newest CUDA that it runs, 1000 * major + 10 * minor
    std::vector<CudaGpu> gpus;  // those that CUDA_VISIBLE_DEVICES lets through
};

// Is there one? Looks once, and initialises nothing.
bool cuda_driver_present();

// Initialises the driver, which takes some 100 ms where there is one.
CudaDriver cuda_driver();

std::string version_text(int version);           // 13000 -> "13.0"
std::string describe(const CudaDriver& driver);  // one line

}  // namespace isthmus
