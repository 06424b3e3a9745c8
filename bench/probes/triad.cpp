// SPDX-License-Identifier: Apache-2.0
// STREAM's triad a = b + s * c over arrays of a given size, each thread on arrays of its own that it touched first: the
// bandwidth of whatever level of the memory holds them. Bytes are counted as in STREAM: two arrays read, one written.
#include <algorithm>
#include <chrono>
#include <memory>

#include "meeting.hpp"

// Bytes a second of `threads` threads together, each with three arrays of `floats`; the best of `bursts`, each of
// `passes` over the arrays.
extern "C" double triad_bytes(int threads, long floats, int passes, int bursts) {
    using Clock = std::chrono::steady_clock;
    Meeting meeting(threads);
    double best = 0.0;
    in_threads(threads, [&](int thread) {
        const auto first = std::make_unique<float[]>(static_cast<std::size_t>(3 * floats));
        float* __restrict a = first.get();
        const float* __restrict b = a + floats;
        const float* __restrict c = b + floats;
        for (int burst = 0; burst < bursts; ++burst) {
            meeting.wait(thread);
            const auto started = Clock::now();
            for (int pass = 0; pass < passes; ++pass) {
                const float s = 0.5F + static_cast<float>(pass);
                for (long i = 0; i < floats; ++i) a[i] = b[i] + s * c[i];
                // Every pass is wanted, though only the last one's result is left.
                __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
            }
            meeting.wait(thread);
            if (thread == 0) {
                const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
                best = std::max(best, 3.0 * sizeof(float) * static_cast<double>(floats) * passes * threads / seconds);
            }
        }
    });
    return best;
}
