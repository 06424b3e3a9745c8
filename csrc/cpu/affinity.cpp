// SPDX-License-Identifier: Apache-2.0
// How many threads this process may use: the smallest of affinity mask, cgroup quota and OMP_NUM_THREADS.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "cpu/cpu.hpp"

namespace isthmus::cpu {

namespace {

int affinity_threads() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// cgroup v2: "quota period" in microseconds, or "max period". v1 in two files; -1 is no limit. 0: no limit found.
int quota_threads() {
    std::string quota;
    double period = 0.0;
    if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
        if (quota == "max" || period <= 0.0) return 0;
        return std::max(1, static_cast<int>(std::ceil(std::strtod(quota.c_str(), nullptr) / period)));
    }
    double v1_quota = 0.0;
    std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota_file >> v1_quota && period_file >> period && v1_quota > 0.0 && period > 0.0) {
        return std::max(1, static_cast<int>(std::ceil(v1_quota / period)));
    }
    return 0;
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
        const int quota = quota_threads();
        const int wanted = environment_threads();
        return quota > 0 && wanted > 0 ? std::min(quota, wanted) : std::max(quota, wanted);
    }();
    const int threads = affinity_threads();
    return ceiling > 0 ? std::min(threads, ceiling) : threads;
}

}  // namespace isthmus::cpu
