// SPDX-License-Identifier: Apache-2.0
// Limits of control groups, from files as Linux writes them.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.hpp"
#include "cpu/cpu.hpp"
#include "device/cgroup.hpp"

using namespace isthmus;
namespace fs = std::filesystem;

namespace {

struct Hierarchy {
    Hierarchy() {
        std::string name = (fs::temp_directory_path() / "isthmus-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        root = name;
    }
    ~Hierarchy() { fs::remove_all(root); }

    void write(const std::string& name, const std::string& text) const {
        fs::create_directories((root / name).parent_path());
        std::ofstream(root / name) << text;
    }
    CgroupLimits limits(const std::string& membership) const {
        write("membership", membership);
        return cgroup_limits((root / "membership").string(), root.string());
    }

    fs::path root;
};

}  // namespace

TEST(version_2_takes_the_smallest_on_the_way_up) {
    const Hierarchy files;
    files.write("a/b/memory.max", "max\n");
    files.write("a/b/cpu.max", "150000 100000\n");
    files.write("a/memory.max", "1073741824\n");
    files.write("a/cpu.max", "max 100000\n");
    files.write("memory.max", "4294967296\n");
    const CgroupLimits limits = files.limits("0::/a/b\n");
    CHECK(limits.memory == 1073741824 && limits.processors == 1.5);
    CHECK(files.limits("0::/\n").memory == 4294967296 && files.limits("0::/\n").processors == 0.0);
    // The host's path inside a container, where only the root is to be seen.
    CHECK(files.limits("0::/system.slice/docker-1.scope\n").memory == 4294967296);
}

TEST(version_1_has_a_hierarchy_for_each_controller) {
    const Hierarchy files;
    files.write("memory/job/memory.limit_in_bytes", "2147483648\n");
    files.write("memory/memory.limit_in_bytes", "9223372036854771712\n");  // version 1 for no limit
    files.write("cpu/job/cpu.cfs_quota_us", "-1\n");
    files.write("cpu/job/cpu.cfs_period_us", "100000\n");
    files.write("cpu/cpu.cfs_quota_us", "50000\n");
    files.write("cpu/cpu.cfs_period_us", "100000\n");
    const CgroupLimits limits = files.limits("9:name=systemd:/job\n4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n");
    CHECK(limits.memory == 2147483648 && limits.processors == 0.5);
    CHECK(files.limits("4:memory:/\n").memory == 9223372036854771712);
}

TEST(what_cannot_be_read_is_no_limit) {
    const Hierarchy files;
    CHECK(cgroup_limits("/nothing", "/nothing").memory == 0);
    for (const char* const membership : {"", "0", "0:", "0::", "::", "0::/a/b/c", "0::a", "1:cpu:a/", "4:memory:/"}) {
        const CgroupLimits limits = files.limits(membership);
        CHECK(limits.memory == 0 && limits.processors == 0.0);
    }
    files.write("cpu.max", "max\n");
    files.write("memory.max", "many\n");
    CHECK(files.limits("0::/").memory == 0 && files.limits("0::/").processors == 0.0);
    files.write("cpu.max", "100 0\n");
    CHECK(files.limits("0::/").processors == 0.0);
}

TEST(this_process_has_memory_and_threads) {
    CHECK(memory_limit() > 0);
    CHECK(memory_limit() <= std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
    CHECK(cpu::default_threads() >= 1);
}
