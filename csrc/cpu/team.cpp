// SPDX-License-Identifier: Apache-2.0
#include "cpu/team.hpp"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "cpu/floating_point.hpp"

namespace isthmus::cpu {

namespace {

// libgomp's threads do not survive a fork, and a child that asks for a team waits for them for ever. A process forked
// after its parent had a team computes on one thread: slower, the same bits.
bool forked_after_first_team() {
    static const pid_t first = getpid();
    return getpid() != first;
}

// libgomp ends the process when it cannot make a thread (a limit of the user, of the control group, of the address
// space). So it is asked for no more than could be made at one time: each thread of this chain makes the next one and
// waits for its end.
struct Chain {
    int wanted;
    int made = 0;
};

void extend(Chain& chain) {
    if (chain.made == chain.wanted) return;
    const auto link = [](void* self) -> void* {
        auto& longer = *static_cast<Chain*>(self);
        ++longer.made;
        extend(longer);
        return nullptr;
    };
    pthread_t next;
    if (pthread_create(&next, nullptr, link, &chain) == 0) pthread_join(next, nullptr);
}

// Of `threads`, as many as there can be, this one included. What this thread's team once had is not asked for again: a
// link takes 30 us.
int obtainable(int threads) {
    thread_local int had = 1;
    if (threads > had) {
        Chain chain{threads - 1};
        extend(chain);
        had = std::max(had, 1 + chain.made);
    }
    return std::min(threads, had);
}

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Moves the calling thread to another of the processors it may use, if there is one.
void leave_processor(int processor) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    cpu_set_t elsewhere = allowed;
    CPU_CLR(static_cast<std::size_t>(processor), &elsewhere);
    if (CPU_COUNT(&elsewhere) == 0) return;
    if (sched_setaffinity(0, sizeof(elsewhere), &elsewhere) == 0) sched_setaffinity(0, sizeof(allowed), &allowed);
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

void run_team(int threads, TeamBody body) {
    Barrier barrier;
    if (threads > 1) threads = forked_after_first_team() ? 1 : obtainable(threads);
    if (threads <= 1) {
        const FloatingPointScope mode;
        body(Member{0, 1, &barrier});
        return;
    }
    const int caller_processor = sched_getcpu();
#pragma omp parallel num_threads(threads)
    {
        const FloatingPointScope mode;
        const Member member{omp_get_thread_num(), omp_get_num_threads(), &barrier};
        // A sleeping thread may be woken on its waker's processor and stay there: the two would take turns, and
        // libgomp's spinning between regions makes a turn 3 ms.
        if (member.id != 0 && sched_getcpu() == caller_processor) leave_processor(caller_processor);
        body(member);
        // Ours, because it yields: libgomp's at the end of the region would not let a thread run that shares the
        // processor.
        member.wait();
    }
}

int threads_for(double flops, int limit, double grain) {
    const double wanted = flops / grain;
    if (wanted >= limit) return limit;
    return wanted < 1.0 ? 1 : static_cast<int>(wanted);
}

}  // namespace isthmus::cpu
