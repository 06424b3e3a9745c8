// SPDX-License-Identifier: Apache-2.0
// What it costs two threads to meet. Two virtual cores are sometimes near (they share a cache) and sometimes far, for
// minutes at a time; a training step of a small network is a few barriers long, so the bench says which it was.
#include <chrono>

#include "meeting.hpp"

// seconds[i]: one barrier, the mean of the i-th `barriers` of them.
extern "C" void barrier_seconds(int chunks, int barriers, double* seconds) {
    using Clock = std::chrono::steady_clock;
    Meeting meeting(2);
    in_threads(2, [&](int thread) {
        meeting.wait(thread);  // both run now
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const auto started = Clock::now();
            for (int i = 0; i < barriers; ++i) meeting.wait(thread);
            if (thread == 0) seconds[chunk] = std::chrono::duration<double>(Clock::now() - started).count() / barriers;
        }
    });
}
