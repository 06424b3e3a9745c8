// SPDX-License-Identifier: Apache-2.0
// Times single kernels of the CUDA device on arrays that are on the device, with events: what isthmus.kernels would
// show is copies to the host and back. For bench/gpu_kernels.py, which asks and takes turns with cuBLAS. Reads
// requests, one a line, and answers each with a line of JSON:
//
//     device                       name, compute capability, multiprocessors
//     prepare OPERATION SIZES...   makes the operands and checks the result: error, operations and bytes
//     time SECONDS                 seconds a call, over as many calls as take about that long
//
// Operations: forward, input, weight (ROWS IN OUT), update (PARAMETERS), loss, gather (ROWS COLS), copy (FLOATS). A
// product may end in what it is computed in: .tf32, .bfloat16, .bf16x6; its operands are there in that form.
// Environment variables choose among kernels as csrc/cuda/device_limits.hpp says.
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device_limits.hpp"
#include "gpu_operations.hpp"

namespace {

using namespace isthmus;
using namespace isthmus::cuda;

// Events that know the time.
class Clock {
public:
    Clock() {
        for (cudaEvent_t& event : events_) {
            check(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
        }
    }
    ~Clock() {
        for (const cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
    }
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;

    // Seconds on the device of so many calls together.
    double seconds(const std::function<void()>& call, std::int64_t calls, cudaStream_t stream) {
        check(cudaEventRecord(events_[0], stream), "cudaEventRecord");
        for (std::int64_t i = 0; i < calls; ++i) call();
        check(cudaEventRecord(events_[1], stream), "cudaEventRecord");
        check(cudaEventSynchronize(events_[1]), "cudaEventSynchronize");
        float milliseconds = 0.0F;
        check(cudaEventElapsedTime(&milliseconds, events_[0], events_[1]), "cudaEventElapsedTime");
        return 1e-3 * static_cast<double>(milliseconds);
    }

private:
    cudaEvent_t events_[2] = {};
};

cudaDeviceProp first_device() {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    return properties;
}

class Bench {
public:
    void answer(const std::string& line) {
        std::istringstream words(line);
        std::string verb;
        words >> verb;
        if (verb == "device") return device();
        if (verb == "prepare") return prepare(words);
        double seconds = 0.0;
        if (verb == "time" && words >> seconds) return time(seconds);
        throw std::invalid_argument("a request is device, prepare ... or time SECONDS, not " + line);
    }

private:
    void device() const {
        std::printf("{\"device\": \"%s\", \"compute_capability\": \"%d.%d\", \"multiprocessors\": %d}\n",
                    properties_.name, properties_.major, properties_.minor, properties_.multiProcessorCount);
    }

    void prepare(std::istringstream& words) {
        std::string name;
        words >> name;
        std::vector<std::int64_t> sizes;
        for (std::int64_t size = 0; words >> size;) sizes.push_back(size);
        operation_ = {};  // the memory of the last one goes first
        operation_ = operations_.make(name, sizes);
        std::printf("{\"error\": %.3e, \"flops\": %lld, \"bytes\": %lld}\n", operation_.error,
                    static_cast<long long>(operation_.flops), static_cast<long long>(operation_.bytes));
    }

    void time(double seconds) {
        if (!operation_.call) throw std::invalid_argument("nothing is prepared");
        constexpr std::int64_t kMost = 1 << 20;
        std::int64_t calls = 1;
        double elapsed = clock_.seconds(operation_.call, calls, stream_);  // also the warm-up
        while (elapsed < seconds / 8 && calls < kMost) {
            calls *= 4;
            elapsed = clock_.seconds(operation_.call, calls, stream_);
        }
        const double wanted = static_cast<double>(calls) * seconds / std::max(elapsed, 1e-9);
        calls = std::clamp<std::int64_t>(std::llround(wanted), 1, kMost);
        const double measured = clock_.seconds(operation_.call, calls, stream_);
        std::printf("{\"seconds\": %.9e}\n", measured / static_cast<double>(calls));
    }

    cudaDeviceProp properties_ = first_device();
    Stream stream_;
    Clock clock_;
    bench::Operations operations_{with_environment(device_limits(0)), stream_};
    bench::Operation operation_;
};

}  // namespace

int main() {
    try {
        Bench bench;
        for (std::string line; std::getline(std::cin, line);) {
            bench.answer(line);
            std::fflush(stdout);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "isthmus_bench_gpu_kernels: %s\n", error.what());
        return 1;
    }
}
