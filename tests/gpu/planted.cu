// SPDX-License-Identifier: Apache-2.0
// One planted bug for each tool of compute-sanitizer, to see that the tool finds it before it is believed that there is
// none elsewhere; and the same kernels without the bug, in which it must find nothing. None can hang a GPU. Built for
// the emulator, too, which finds them by itself.
//
//     planted memcheck|racecheck|synccheck planted|clean
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/stream.hpp"

using namespace isthmus::cuda;

namespace {

constexpr int kThreads = 64;

// memcheck: y[i] = i for i < n; the bug lets one thread beyond the end write.
template <bool bug>
__global__ void fill(float* y, int n) {
    const auto i = static_cast<int>(threadIdx.x);
    if (i < n + (bug ? 1 : 0)) y[i] = static_cast<float>(i);
}

// racecheck: y[i] = n - 1 - i through shared memory; the bug is a barrier that is missing between the warps.
template <bool bug>
__global__ void reverse(float* y, int n) {
    ISTHMUS_SHARED(float, tile, kThreads);
    const auto i = static_cast<int>(threadIdx.x);
    tile[i] = static_cast<float>(i);
    if (!bug) __syncthreads();
    if (i < n) y[i] = tile[n - 1 - i];
}

// synccheck: y[i] = the number of rounds in which i is below the end; in the last round some threads of a warp do not
// come to the barrier of the bug, and end.
template <bool bug>
__global__ void count_rounds(float* y, int n) {
    ISTHMUS_SHARED(float, rounds, kThreads);
    const auto i = static_cast<int>(threadIdx.x);
    rounds[i] = 0.0F;
    __syncthreads();
    for (int first = 0; first < 3 * kThreads; first += kThreads) {
        if (first + i < 2 * kThreads + n) {
            rounds[i] += 1.0F;
            if (bug) __syncthreads();
        }
        if (!bug) __syncthreads();
    }
    if (i < n) y[i] = rounds[i];
}

// Whether y is what it should be; a sanitizer that finds the bug ends the process with a code of its own.
template <class Expected>
bool run(void (*kernel)(float*, int), int n, Expected expected) {
    const Stream stream;
    const DeviceArray<float> y(n);
    std::vector<float> values(static_cast<std::size_t>(n));
    launch(kernel, dim3(1), dim3(kThreads), 0, stream, y.data(), n);
    copy_async(values.data(), y.data(), n, stream);
    stream.synchronize();
    for (int i = 0; i < n; ++i) {
        if (values[static_cast<std::size_t>(i)] != expected(i)) {
            std::printf("wrong at %d\n", i);
            return false;
        }
    }
    return true;
}

bool run(const std::string& tool, bool bug) {
    constexpr int kSome = kThreads - 16;
    if (tool == "memcheck") {
        return run(bug ? fill<true> : fill<false>, kSome, [](int i) { return static_cast<float>(i); });
    }
    if (tool == "racecheck") {
        return run(bug ? reverse<true> : reverse<false>, kThreads,
                   [](int i) { return static_cast<float>(kThreads - 1 - i); });
    }
    if (tool == "synccheck")
        return run(bug ? count_rounds<true> : count_rounds<false>, kSome, [](int) { return 3.0F; });
    std::printf("no bug is planted for %s\n", tool.c_str());
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::printf("planted memcheck|racecheck|synccheck planted|clean\n");
        return 2;
    }
    try {
        return run(argv[1], argv[2] == std::string("planted")) ? 0 : 1;
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
}
