// SPDX-License-Identifier: Apache-2.0
// What the calls of the runtime share.
#pragma once

#include <cstdio>
#include <exception>

#include "cuda_emulator/launch.hpp"
#include "cuda_emulator/runtime_api.hpp"

namespace cuda_emulator {

// Remembers the error for cudaGetLastError and returns it.
cudaError_t failed(cudaError_t error);
// Runs what frees something. While an exception is under way a report goes to stderr: destructors call this.
template <class F>
void releasing(F&& body) {
    try {
        body();
    } catch (const Report& report) {
        if (std::uncaught_exceptions() == 0) throw;
        std::fprintf(stderr, "isthmus CUDA emulator: %s\n", report.what());
    }
}
int current_device();  // of the calling thread
bool broken();         // has a kernel done what no call recovers from?

}  // namespace cuda_emulator
