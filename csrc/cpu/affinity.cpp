// SPDX-License-Identifier: Apache-2.0
// How many threads this process may use: the smallest of affinity mask, cgroup quota and OMP_NUM_THREADS.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "cpu/cpu.hpp"
#include "device/cgroup.hpp"

namespace isthmus::cpu {

namespace {

int affinity_threads() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int environment_threads() {
    const char* text = std::getenv("OMP_NUM_THREADS");
    if (text == nullptr) return 0;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);  // "4" or "4,2" (the first is the outermost level)
    return end != text && value > 0 && value < 1 << 20 ? static_cast<int>(value) : 0;
}

}  // namespace

int default_threads() {
    // The files are read once: 20 us, where the affinity's system call costs 0.2 us.
    static const int ceiling = [] {
        const auto quota = static_cast<int>(std::ceil(cgroup_limits().processors));
        const int wanted = environment_threads();
        return quota > 0 && wanted > 0 ? std::min(quota, wanted) : std::max(quota, wanted);
    }();
    const int threads = affinity_threads();
    return ceiling > 0 ? std::min(threads, ceiling) : threads;
}

}  // namespace isthmus::cpu
