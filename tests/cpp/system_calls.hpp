// SPDX-License-Identifier: Apache-2.0
// The system calls of a save and of a load, replaced in the executable that includes this once: each can fail, do part
// of its work, or be the last thing that the process does.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace system_calls {

enum class Mishap { none, error, killed };

// What befalls the calls of the one thread that arms it.
struct Plan {
    Mishap mishap = Mishap::none;
    std::string_view call;  // only calls of this name; empty: all
    int countdown = 0;      // calls before the one that is hit
    int times = 1;          // calls that are hit
    int code = 0;           // errno
    std::size_t transfer_limit = SIZE_MAX;
};
inline thread_local bool armed = false;
inline Plan plan;
inline std::vector<std::string> calls;  // made while armed

// Whether the call fails, with errno set.
inline bool strikes(const char* call) {
    if (!armed) return false;
    calls.emplace_back(call);
    if (plan.mishap == Mishap::none || plan.times == 0 || (!plan.call.empty() && plan.call != call)) return false;
    if (plan.countdown-- > 0) return false;
    --plan.times;
    if (plan.mishap == Mishap::killed) ::kill(::getpid(), SIGKILL);
    errno = plan.code;
    return true;
}

inline std::size_t limited(std::size_t size) { return armed ? std::min(size, plan.transfer_limit) : size; }

}  // namespace system_calls

extern "C" {

int open(const char* path, int flags, ...) {
    if (system_calls::strikes("open")) return -1;
    std::va_list rest;
    va_start(rest, flags);
    const auto mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int openat(int folder, const char* path, int flags, ...) {
    if (system_calls::strikes("openat")) return -1;
    std::va_list rest;
    va_start(rest, flags);
    const auto mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
}
ssize_t write(int descriptor, const void* bytes, std::size_t size) {
    if (system_calls::strikes("write")) return system_calls::plan.code == 0 ? 0 : -1;
    return ::syscall(SYS_write, descriptor, bytes, system_calls::limited(size));
}
ssize_t read(int descriptor, void* bytes, std::size_t size) {
    if (system_calls::strikes("read")) return -1;
    return ::syscall(SYS_read, descriptor, bytes, system_calls::limited(size));
}
int fsync(int descriptor) {
    if (system_calls::strikes("fsync")) return -1;
    return static_cast<int>(::syscall(SYS_fsync, descriptor));
}
int fchmod(int descriptor, mode_t mode) {
    if (system_calls::strikes("fchmod")) return -1;
    return static_cast<int>(::syscall(SYS_fchmod, descriptor, mode));
}
int fchown(int descriptor, uid_t owner, gid_t group) noexcept {
    if (system_calls::strikes("fchown")) return -1;
    return static_cast<int>(::syscall(SYS_fchown, descriptor, owner, group));
}
int faccessat(int folder, const char* path, int mode, int flags) noexcept {
    if (system_calls::strikes("faccessat")) return -1;
    (void)flags;  // real and effective user are one here
    return static_cast<int>(::syscall(SYS_faccessat, folder, path, mode));
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
    if (system_calls::strikes("renameat")) return -1;
    return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, 0U));
}
int close(int descriptor) {
    const bool fails = system_calls::strikes("close");
    const int code = errno;
    const auto result = static_cast<int>(::syscall(SYS_close, descriptor));  // as Linux does, also when it fails
    if (!fails) return result;
    errno = code;
    return -1;
}
}
