// SPDX-License-Identifier: Apache-2.0
// Threads that start together and meet. A thread arrives by counting up on a cache line of its own and spins until the
// others have counted as far: no atomic read-modify-write, so that two threads pay for two cache line transfers.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

class Meeting {
public:
    explicit Meeting(int threads) : arrived_(static_cast<std::size_t>(threads)) {}

    void wait(int thread) {
        const long count = arrived_[thread].count.load(std::memory_order_relaxed) + 1;
        arrived_[thread].count.store(count, std::memory_order_release);
        for (const Line& other : arrived_) {
            // The yield is for two threads that were put on one core.
            for (long spins = 0; other.count.load(std::memory_order_acquire) < count; ++spins) {
                if (spins > 1 << 16) std::this_thread::yield();
            }
        }
    }

private:
    struct alignas(128) Line {
        std::atomic<long> count{0};
    };
    std::vector<Line> arrived_;
};

// Calls work(thread) in each of `threads` threads; thread 0 is the caller's.
template <class Work>
void in_threads(int threads, Work work) {
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(work, i);
    work(0);
    for (std::thread& other : others) other.join();
}
