// SPDX-License-Identifier: Apache-2.0
// Streams and events. A stream is a queue; what differs from run to run is when it is worked off.
//
// ISTHMUS_EMULATOR_STREAMS: "early" (also when it is not set) runs everything when it is queued, "late" only what
// someone waits for and only then; a number is the seed that makes some streams early and others late, which shows
// where one stream does not wait for another. There is no legacy default stream: null is a stream like any other.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_emulator/runtime_api.hpp"

struct CUstream_st;

namespace cuda_emulator {

struct Capture;

// Held by every call of the runtime, and while kernels run.
std::mutex& runtime_mutex();

// So many operations of a stream.
struct Point {
    std::shared_ptr<CUstream_st> stream;
    std::uint64_t sequence = 0;

    bool reached() const;
};

struct Operation {
    std::function<void()> run;
    Point after;                  // not before this
    const void* reads = nullptr;  // memory of the host
    std::size_t bytes_read = 0;
};

class Streams {
public:
    cudaStream_t create(int device);
    bool destroy(cudaStream_t stream);
    // Null when there is no such stream; the stream of the device for null.
    std::shared_ptr<CUstream_st> find(cudaStream_t stream, int device);

    // Also runs what need not wait. Returns the point at which the operation is done. A captured stream only keeps
    // it.
    Point queue(const std::shared_ptr<CUstream_st>& stream, Operation operation);
    void run_until(const Point& point);
    void run_all();
    // One operation of the stream, with what it waits for.
    void run_one(CUstream_st& stream);
    bool reads_later(const void* memory, std::size_t bytes) const;
    bool any_captured(const std::function<bool(const Capture&)>& is_meant) const;

private:
    void run_early();
    bool early(const CUstream_st& stream) const;
    void drop_all();

    std::vector<std::shared_ptr<CUstream_st>> streams_;
};

Streams& streams();

}  // namespace cuda_emulator

struct CUstream_st {
    int device = 0;
    unsigned number = 0;  // the lowest that was free
    bool is_default = false;
    std::deque<cuda_emulator::Operation> waiting;
    std::uint64_t queued = 0;
    std::uint64_t done = 0;
    std::shared_ptr<cuda_emulator::Capture> capture;  // while it is captured
};

struct CUevent_st {
    unsigned flags = 0;
    cuda_emulator::Point recorded;
    std::shared_ptr<double> milliseconds = std::make_shared<double>(0.0);  // when the record was reached
};
