// SPDX-License-Identifier: Apache-2.0
// Streams and events with an owner, and the caller's current device put back.
#pragma once

#include <cstdint>

#include "cuda/launch.hpp"

namespace isthmus::cuda {

// Makes a device current for as long as this lives.
class OnDevice {
public:
    explicit OnDevice(int ordinal) : current_(ordinal) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (before_ != current_) check(cudaSetDevice(current_), "cudaSetDevice");
    }
    ~OnDevice() {
        if (before_ != current_) static_cast<void>(cudaSetDevice(before_));
    }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

private:
    int before_ = 0;
    int current_;
};

class Event {
public:
    Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
    ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
    // Returns when what was in the stream at the last record is done; at once when there was none.
    void wait() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
    // Holds back what comes into the stream from now on.
    void hold_back(cudaStream_t stream) const { check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent"); }

private:
    cudaEvent_t event_ = nullptr;
};

class Stream {
public:
    Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
    ~Stream() { static_cast<void>(cudaStreamDestroy(stream_)); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    operator cudaStream_t() const { return stream_; }
    void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

private:
    cudaStream_t stream_ = nullptr;
};

// Waits for a stream when it goes out of scope, however that happens: what was queued reads and writes memory whose
// owner may be about to free it.
class Drain {
public:
    explicit Drain(cudaStream_t stream) : stream_(stream) {}
    ~Drain() { static_cast<void>(cudaStreamSynchronize(stream_)); }
    Drain(const Drain&) = delete;
    Drain& operator=(const Drain&) = delete;

private:
    cudaStream_t stream_;
};

// n elements, from and to wherever they are.
template <class T>
void copy_async(T* to, const T* from, std::int64_t n, cudaStream_t stream) {
    if (n == 0) return;  // of nothing, neither need be there
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDefault, stream),
          "cudaMemcpyAsync");
}

template <class T>
void zero_async(T* to, std::int64_t n, cudaStream_t stream) {
    check(cudaMemsetAsync(to, 0, static_cast<std::size_t>(n) * sizeof(T), stream), "cudaMemsetAsync");
}

}  // namespace isthmus::cuda
