// SPDX-License-Identifier: Apache-2.0
// A team of threads: one OpenMP parallel region around a whole range of steps, with a barrier of our own between the
// phases. libgomp's barrier costs 290 ns and a region 700 ns; this barrier costs 35 ns when both cores are near.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace isthmus::cpu {

class Barrier {
public:
    // Returns when all `members` threads are here. Spins, then yields: two threads on one core must not wait out a
    // scheduler's slice.
    void wait(int members);

private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> phase_{0};
};

struct Member {
    int id;
    int count;
    Barrier* barrier;

    void wait() const { barrier->wait(count); }
    // This member's contiguous share of n things.
    std::int64_t begin(std::int64_t n) const { return n * id / count; }
    std::int64_t end(std::int64_t n) const { return n * (id + 1) / count; }
};

// What a team runs: a reference to a callable that outlives the call. A std::function would allocate for every lambda
// that captures more than two words.
class TeamBody {
public:
    template <class Body>
        requires(!std::is_same_v<std::remove_cvref_t<Body>, TeamBody>)
    TeamBody(Body&& body)  // NOLINT: a lambda is a body
        : body_(const_cast<void*>(static_cast<const void*>(std::addressof(body)))),
          call_([](void* self, const Member& me) { (*static_cast<std::remove_reference_t<Body>*>(self))(me); }) {}

    void operator()(const Member& me) const { call_(body_, me); }

private:
    void* body_;
    void (*call_)(void*, const Member&);
};

// Runs body on up to `threads` threads (fewer when the system gives fewer, one in a forked child), each in the kernels'
// floating-point mode. The body must not throw: a member that left would leave the others at the barrier.
void run_team(int threads, TeamBody body);

// Threads worth waking for this much arithmetic: one for each `grain` of it, at most `limit`. Never changes a bit. The
// grain is 1 MFLOP; of a training step, whose threads hand rows and weights to one another, 2.5 (two threads gain
// nothing at 4.6 MFLOP, a third at 10).
inline constexpr double kFlopsPerThread = 1e6;
inline constexpr double kStepFlopsPerThread = 2.5e6;
int threads_for(double flops, int limit, double grain = kFlopsPerThread);

}  // namespace isthmus::cpu
