// SPDX-License-Identifier: Apache-2.0
// Measures the error of every elementary function on the vector path of one instruction set, over all 2^32 floats, or
// every Nth with --stride=N. Prints one line of a table for each function and fails if one is over its bound.
//
// --flush runs with denormals flushed to zero, as the kernels do; the reference is then given the flushed argument.
// --only=NAME measures one function.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "cpu/simd.hpp"
#include "instruction_set.hpp"
#include "math/elementary.hpp"
#include "ulp.hpp"

using namespace isthmus;
using namespace isthmus::cpu::ISTHMUS_ISA;

namespace {

void flush_denormals() {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040U);
#endif
}

struct Worst {
    double error = 0.0;
    std::uint32_t at = 0;
    std::int64_t above_one = 0;
    std::int64_t count = 0;

    void add(double e, std::uint32_t pattern) {
        ++count;
        above_one += e > 1.0;
        if (e > error || (e == error && pattern < at)) {
            error = e;
            at = pattern;
        }
    }
};

template <class F>
Worst measure(std::uint64_t stride, bool flush) {
    constexpr std::uint64_t kBlock = 4096;
    const auto patterns = static_cast<std::int64_t>(((std::uint64_t{1} << 32) + stride - 1) / stride);
    const auto blocks = static_cast<std::int64_t>((patterns + kBlock - 1) / kBlock);
    Worst worst;
#pragma omp parallel
    {
        if (flush) flush_denormals();
        Worst mine;
        alignas(64) float x[kBlock];
        alignas(64) float y[kBlock];
#pragma omp for schedule(dynamic, 16)
        for (std::int64_t block = 0; block < blocks; ++block) {
            const auto first = static_cast<std::uint64_t>(block) * kBlock;
            for (std::uint64_t i = 0; i < kBlock; ++i) {
                x[i] = math::from_bits(static_cast<std::int32_t>(static_cast<std::uint32_t>((first + i) * stride)));
            }
            for (std::uint64_t i = 0; i < kBlock; i += kLanes) F::compute(Vec::load(x + i)).store(y + i);
            for (std::uint64_t i = 0; i < kBlock && first + i < static_cast<std::uint64_t>(patterns); ++i) {
                const auto pattern = static_cast<std::uint32_t>((first + i) * stride);
                if (std::isnan(x[i])) {
                    if (F::nan) mine.add(ulp::error(y[i], static_cast<double>(x[i])), pattern);
                    continue;
                }
                if (x[i] < F::low || x[i] > F::high) continue;
                const bool denormal = flush && (pattern & 0x7f800000U) == 0;
                mine.add(ulp::error(y[i], F::reference(denormal ? 0.0 : static_cast<double>(x[i]))), pattern);
            }
        }
#pragma omp critical
        {
            const std::int64_t above_one = worst.above_one + mine.above_one;
            const std::int64_t count = worst.count + mine.count;
            if (mine.error > worst.error || (mine.error == worst.error && mine.at < worst.at)) worst = mine;
            worst.above_one = above_one;
            worst.count = count;
        }
    }
    return worst;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t stride = 1;
    bool flush = false;
    std::string_view only;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument.starts_with("--stride=")) {
            stride = std::strtoull(argv[i] + std::strlen("--stride="), nullptr, 10);
        } else if (argument == "--flush") {
            flush = true;
        } else if (argument.starts_with("--only=")) {
            only = argument.substr(std::strlen("--only="));
        } else {
            stride = 0;
        }
    }
    if (stride == 0) {
        std::fprintf(stderr, "usage: %s [--stride=N] [--flush] [--only=NAME], N at least 1\n", argv[0]);
        return 2;
    }
    if (!instruction_set::usable()) return 0;
    std::printf("| function | floats | max ULP | at | above 1 ULP | bound |\n|---|---|---|---|---|---|\n");
    bool passed = true;
    int measured = 0;
    ulp::for_each(ulp::Functions{}, [&](auto function) {
        using F = decltype(function);
        if (!only.empty() && only != F::name) return;
        const Worst worst = measure<F>(stride, flush);
        const double bound = instruction_set::kFused ? F::fused : F::unfused;
        const bool within = worst.error <= bound;
        std::printf("| %s | %lld | %.4f | %a | %.3g %% | %.2f%s |\n", F::name, static_cast<long long>(worst.count),
                    worst.error, static_cast<double>(math::from_bits(static_cast<std::int32_t>(worst.at))),
                    100.0 * static_cast<double>(worst.above_one) / static_cast<double>(worst.count), bound,
                    within ? "" : " EXCEEDED");
        std::fflush(stdout);
        passed = passed && within;
        ++measured;
    });
    return passed && measured > 0 ? 0 : 1;
}
