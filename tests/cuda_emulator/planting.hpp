// SPDX-License-Identifier: Apache-2.0
// What the mutation tests share: a bug runs in a process of its own, which a sanitizer may end, and is found by a wrong
// result, a report or that.
#pragma once

#include <cstdio>

#include "../cpp/check.hpp"
#include "emulated.hpp"

namespace emulated {

// Exit codes, which those of sanitizers are not.
enum Finding : int { nothing = 0, wrong_result = 70, reported = 71 };

// ThreadSanitizer is slow and needs few orders.
#if defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

// What is found in a run whose body says whether its result is right.
template <class F>
Finding finding_of(F&& right) {
    try {
        return right() ? nothing : wrong_result;
    } catch (const cuda_emulator::Report& report) {
        std::fprintf(stderr, "%s\n", report.what());
        return reported;
    }
}

// Runs what finds a bug, prints how, and fails where it was not found.
template <class F>
void examine(const char* name, F&& first_finding) {
    const int code = exit_code_of([&] { return static_cast<int>(first_finding()); });
    const char* const how = code == nothing        ? "NOT FOUND"
                            : code == wrong_result ? "wrong result"
                            : code == reported     ? "report"
                                                   : "ended by a sanitizer or a signal";
    std::printf("     %-56s %s\n", name, how);
    CHECK(code != nothing);
}

}  // namespace emulated
