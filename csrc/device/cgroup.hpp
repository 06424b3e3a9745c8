// SPDX-License-Identifier: Apache-2.0
// What a container or a service is given of the machine: the limits of the control group that this process is in, and
// of those around it.
#pragma once

#include <cstdint>
#include <string>

namespace isthmus {

struct CgroupLimits {
    double processors = 0.0;  // of processor time; 0: no limit
    std::int64_t memory = 0;  // bytes; 0: no limit
};

// The smallest on the way from the group that `membership` names (/proc/self/cgroup) to the root of the hierarchy, of
// version 2 and of version 1. What cannot be read is no limit.
CgroupLimits cgroup_limits(const std::string& membership = "/proc/self/cgroup",
                           const std::string& hierarchy = "/sys/fs/cgroup");

// Memory that this process may use, in bytes: the machine's, or what its control group leaves of it.
std::int64_t memory_limit();

}  // namespace isthmus
