// SPDX-License-Identifier: Apache-2.0
// Another library on the emulated GPU, as torch or CuPy is one on a real GPU: what tests/python/gpu_arrays.py makes
// arrays of. Exported by the emulated library alone, for ctypes; all return 0 where the runtime's call does.
#include <cuda_runtime.h>

#define ISTHMUS_EXPORTED extern "C" __attribute__((visibility("default")))

ISTHMUS_EXPORTED int producer_allocate(int device, std::size_t bytes, void** memory) {
    int before = 0;
    cudaGetDevice(&before);
    int result = cudaSetDevice(device);
    if (result == 0) result = cudaMalloc(memory, bytes);
    cudaSetDevice(before);
    return result;
}

ISTHMUS_EXPORTED int producer_free(void* memory) { return cudaFree(memory); }

// On the current device.
ISTHMUS_EXPORTED int producer_stream(void** stream) {
    return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking);
}

ISTHMUS_EXPORTED int producer_copy(void* to, const void* from, std::size_t bytes, void* stream) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream));
}

ISTHMUS_EXPORTED int producer_synchronize(void* stream) {
    return cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
}

// What comes into `held` from now on waits for what is in `stream` now.
ISTHMUS_EXPORTED int producer_hold_back(void* held, void* stream) {
    cudaEvent_t event = nullptr;
    int result = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    if (result == 0) result = cudaEventRecord(event, static_cast<cudaStream_t>(stream));
    if (result == 0) result = cudaStreamWaitEvent(static_cast<cudaStream_t>(held), event, 0);
    cudaEventDestroy(event);
    return result;
}

ISTHMUS_EXPORTED int producer_current_device() {
    int device = -1;
    cudaGetDevice(&device);
    return device;
}

ISTHMUS_EXPORTED int producer_set_device(int device) { return cudaSetDevice(device); }
ISTHMUS_EXPORTED std::size_t producer_free_bytes() {
    std::size_t free = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return free;
}
