// SPDX-License-Identifier: Apache-2.0
#include "device/cgroup.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>

namespace isthmus {
namespace {

template <class T>
void lower(T& limit, T found) {
    if (found > 0 && (limit == 0 || found < limit)) limit = found;
}

// The first word as a number; 0 for "max" (version 2) and for what is not there.
std::int64_t read_number(const std::string& path) {
    std::string word;
    std::ifstream(path) >> word;
    std::int64_t number = 0;
    std::from_chars(word.data(), word.data() + word.size(), number);
    return number;
}

void read_version_2(const std::string& folder, CgroupLimits& limits) {
    lower(limits.memory, read_number(folder + "/memory.max"));
    std::string quota;
    double period = 0.0;
    if (std::ifstream file(folder + "/cpu.max"); file >> quota >> period && period > 0.0) {
        lower(limits.processors, std::strtod(quota.c_str(), nullptr) / period);  // "max" is 0
    }
}

void read_version_1(const std::string& folder, bool of_memory, CgroupLimits& limits) {
    if (of_memory) {
        lower(limits.memory, read_number(folder + "/memory.limit_in_bytes"));
        return;
    }
    const auto quota = static_cast<double>(read_number(folder + "/cpu.cfs_quota_us"));  // -1: no limit
    const auto period = static_cast<double>(read_number(folder + "/cpu.cfs_period_us"));
    if (quota > 0.0 && period > 0.0) lower(limits.processors, quota / period);
}

}  // namespace

CgroupLimits cgroup_limits(const std::string& membership, const std::string& hierarchy) {
    CgroupLimits limits;
    std::ifstream file(membership);
    // "0::/path" is version 2, "4:cpu,cpuacct:/path" version 1. Inside a container the path may be the host's, and only
    // the last folder on the way up, the root, is there.
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        std::string controllers = line.substr(first, second - first);
        controllers.front() = ',';
        controllers += ',';
        std::string path = line.substr(second + 1);
        while (true) {
            if (path == "/") path.clear();
            if (controllers == ",,") read_version_2(hierarchy + path, limits);
            for (const bool of_memory : {false, true}) {
                if (controllers.find(of_memory ? ",memory," : ",cpu,") == std::string::npos) continue;
                read_version_1(hierarchy + (of_memory ? "/memory" : "/cpu") + path, of_memory, limits);
            }
            if (path.empty()) break;
            path.resize(std::min(path.rfind('/'), path.size() - 1));
        }
    }
    return limits;
}

std::int64_t memory_limit() {
    static const std::int64_t limit = [] {
        std::int64_t bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
        lower(bytes, cgroup_limits().memory);
        return bytes;
    }();
    return limit;
}

}  // namespace isthmus
