// SPDX-License-Identifier: Apache-2.0
// The float32 arithmetic that the cores can do with vectors of VECTOR_BYTES: chains of multiply-adds that depend on
// nothing but themselves, enough of them (12) to hide a latency of 4 to 5 cycles on two units, all in registers.
// The compiler's default makes each one instruction where the instruction set has it.
#include <algorithm>
#include <chrono>

#include "meeting.hpp"

namespace {

using Vector = float __attribute__((vector_size(VECTOR_BYTES)));
constexpr int kChains = 12;
constexpr int kLanes = VECTOR_BYTES / sizeof(float);

float chains(long rounds) {
    Vector sums[kChains];
    Vector factor{};
    for (int i = 0; i < kChains; ++i) sums[i] = Vector{} + static_cast<float>(i);
    factor += 0.999F;  // the sums converge: neither denormals nor infinities
    const Vector term = factor + 1.0F;
    for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + term;
    }
    Vector total{};
    for (const Vector& sum : sums) total += sum;
    float result = 0.0F;
    for (int lane = 0; lane < kLanes; ++lane) result += total[lane];
    return result;
}

}  // namespace

// Floating-point operations a second of `threads` threads together, a multiply-add counted as two; the best of
// `bursts`.
extern "C" double fma_flops(int threads, long rounds, int bursts) {
    using Clock = std::chrono::steady_clock;
    Meeting meeting(threads);
    double best = 0.0;
    std::atomic<float> sink{0.0F};  // so that the chains are not optimised away
    in_threads(threads, [&](int thread) {
        for (int burst = 0; burst < bursts; ++burst) {
            meeting.wait(thread);
            const auto started = Clock::now();
            sink.store(chains(rounds), std::memory_order_relaxed);
            meeting.wait(thread);
            if (thread == 0) {
                const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
                best = std::max(best, 2.0 * kLanes * kChains * static_cast<double>(rounds) * threads / seconds);
            }
        }
    });
    return best;
}
