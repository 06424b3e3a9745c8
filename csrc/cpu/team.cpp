// SPDX-License-Identifier: Apache-2.0
#include "cpu/team.hpp"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include "cpu/floating_point.hpp"

namespace isthmus::cpu {

namespace {

// libgomp's threads do not survive a fork, and a child that asks for a team waits for them for ever. A process forked
// after its parent had a team computes on one thread: slower, the same bits.
bool forked_after_first_team() {
    static const pid_t first = getpid();
    return getpid() != first;
}

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Barrier::wait(int members) {
    if (members == 1) return;
    const std::uint32_t phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        return;
    }
    // Some 10 us at 40 to 140 cycles a pause: longer than any barrier between threads that run, far shorter than the
    // slice of a thread that does not.
    constexpr int kSpins = 250;
    for (int spin = 0; phase_.load(std::memory_order_acquire) == phase;) {
        if (++spin < kSpins) {
            relax();
        } else {
            sched_yield();
        }
    }
}

void run_team(int threads, const std::function<void(const Member&)>& body) {
    Barrier barrier;
    if (threads <= 1 || forked_after_first_team()) {
        const FloatingPointScope mode;
        body(Member{0, 1, &barrier});
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        const FloatingPointScope mode;
        body(Member{omp_get_thread_num(), omp_get_num_threads(), &barrier});
    }
}

int threads_for(double flops, int limit, double grain) {
    const double wanted = flops / grain;
    if (wanted >= limit) return limit;
    return wanted < 1.0 ? 1 : static_cast<int>(wanted);
}

}  // namespace isthmus::cpu
