// SPDX-License-Identifier: Apache-2.0
// Whole or absent: whichever system call of a save fails, is interrupted, does part of its work, or is the last one.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "check.hpp"
#include "core/file.hpp"
#include "counts.hpp"
#include "system_calls.hpp"

using namespace isthmus;
using namespace system_calls;
namespace fs = std::filesystem;

namespace {

struct Folder {
    Folder() {
        std::string name = (fs::temp_directory_path() / "isthmus-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path = name;
    }
    ~Folder() { fs::remove_all(path); }

    std::string operator/(const std::string& name) const { return (path / name).string(); }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& entry : fs::directory_iterator(path)) all.push_back(entry.path().filename().string());
        std::sort(all.begin(), all.end());
        return all;
    }

    fs::path path;
};

using Names = std::vector<std::string>;

// errno of the Error(io) that body throws, 0 if it throws none.
template <class Body>
int error_of(Body&& body) {
    try {
        body();
        return 0;
    } catch (const Error& error) {
        return error.kind() == ErrorKind::io ? error.code() : -1;
    }
}

template <class Body>
int error_under(const Plan& new_plan, Body&& body) {
    plan = new_plan;
    calls.clear();
    armed = true;
    const int code = error_of(body);
    armed = false;
    return code;
}

int count_descriptors() {
    int n = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++n;
    return n;
}

unsigned mode_of(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
}

long count(const char* call) { return std::count(calls.begin(), calls.end(), call); }

const std::string kOld = "the old file";
const std::string kNew(100000, 'n');

}  // namespace

// ---- saving -------------------------------------------------------------------------------------------------------

TEST(files_are_written_and_replaced) {
    const Folder folder;
    const std::string path = folder / "model";
    const mode_t mask = ::umask(027);
    write_atomically(path, std::string_view("a\0b\n", 4));
    CHECK(read_file(path) == std::string_view("a\0b\n", 4));
    CHECK(mode_of(path) == 0640);
    ::chmod(path.c_str(), 0604);
    write_atomically(path, "");
    CHECK(read_file(path).empty());
    CHECK(mode_of(path) == 0604);
    ::umask(mask);
    CHECK(folder.names() == Names{"model"});
}

TEST(owner_and_group_are_kept_where_they_may_be) {
    if (::geteuid() != 0) return;  // nobody else may give a file away
    const Folder folder;
    const std::string path = folder / "model";
    write_atomically(path, kOld);
    constexpr uid_t kOwner = 12345;
    constexpr gid_t kGroup = 23456;
    CHECK(::chown(path.c_str(), kOwner, kGroup) == 0);
    CHECK(::chmod(path.c_str(), 0640) == 0);
    write_atomically(path, kNew);
    struct stat status{};
    CHECK(::stat(path.c_str(), &status) == 0 && status.st_uid == kOwner && status.st_gid == kGroup);
    CHECK(mode_of(path) == 0640);
    // As for one who may not give it away, but may change its group; then, not even that.
    for (const int times : {1, 2}) {
        CHECK(::chown(path.c_str(), kOwner, kGroup) == 0);
        CHECK(error_under({Mishap::error, "fchown", 0, times, EPERM}, [&] { write_atomically(path, kNew); }) == 0);
        CHECK(count("fchown") == 2);
        CHECK(::stat(path.c_str(), &status) == 0 && status.st_uid == 0 && status.st_gid == (times == 1 ? kGroup : 0));
        CHECK(mode_of(path) == 0640);
    }
    CHECK(error_under({Mishap::error, "fchown", 0, 1, EIO}, [&] {
              CHECK(::chown(path.c_str(), kOwner, kGroup) == 0);
              write_atomically(path, kOld);
          }) == EIO);
    CHECK(read_file(path) == kNew);
}

TEST(a_folder_that_may_not_be_written_is_refused) {
    const Folder folder;
    const std::string path = folder / "model";
    write_atomically(path, kOld);
    ::chmod(path.c_str(), 0666);
    ::chmod(folder.path.c_str(), 0555);
    const pid_t child = ::fork();
    if (child == 0) {  // root may write everywhere
        if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
        const bool refused = error_of([&] { write_atomically(path, kNew); }) == EACCES &&
                             error_of([&] { write_atomically(folder / "other", kNew); }) == EACCES;
        ::_exit(refused && read_file(path) == kOld ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ::chmod(folder.path.c_str(), 0755);
    CHECK(folder.names() == Names{"model"});
}

TEST(paths_need_no_folder) {
    const Folder folder;
    const fs::path before = fs::current_path();
    fs::current_path(folder.path);
    write_atomically("model", kNew);
    CHECK(read_file("model") == kNew);
    fs::current_path(before);
    CHECK(folder.names() == Names{"model"});
}

TEST(names_may_be_as_long_as_names_go) {
    const Folder folder;
    write_atomically(folder / std::string(255, 'x'), kNew);
    CHECK(read_file(folder / std::string(255, 'x')) == kNew);
    CHECK(error_of([&] { write_atomically(folder / std::string(256, 'x'), kNew); }) == ENAMETOOLONG);
    CHECK(folder.names().size() == 1);
}

TEST(links_stay_and_their_targets_are_replaced) {
    const Folder folder;
    fs::create_directory(folder / "elsewhere");
    write_atomically(folder / "elsewhere/target", kOld);
    fs::create_symlink("elsewhere/target", folder / "first");
    fs::create_symlink(folder / "first", folder / "second");
    fs::create_symlink("elsewhere/nothing", folder / "dangling");
    write_atomically(folder / "second", kNew);
    write_atomically(folder / "dangling", "made");
    CHECK(fs::is_symlink(folder / "first") && fs::is_symlink(folder / "second") && fs::is_symlink(folder / "dangling"));
    CHECK(read_file(folder / "elsewhere/target") == kNew);
    CHECK(read_file(folder / "elsewhere/nothing") == "made");
    fs::create_symlink("b", folder / "a");
    fs::create_symlink("a", folder / "b");
    CHECK(error_of([&] { write_atomically(folder / "a", kNew); }) == ELOOP);
}

TEST(what_is_no_file_is_refused) {
    const Folder folder;
    fs::create_directory(folder / "folder");
    ::mkfifo((folder / "pipe").c_str(), 0600);
    CHECK(error_of([&] { write_atomically(folder / "folder", kNew); }) == EISDIR);
    CHECK(error_of([&] { write_atomically(folder / "folder/", kNew); }) == EISDIR);
    CHECK(error_of([&] { write_atomically(folder / "folder/.", kNew); }) == EISDIR);
    CHECK(error_of([&] { write_atomically(folder / "pipe", kNew); }) == EINVAL);
    CHECK(error_of([&] { write_atomically("/dev/full", kNew); }) == EINVAL);
    CHECK(error_of([&] { write_atomically(folder / "missing/model", kNew); }) == ENOENT);
    CHECK(error_of([&] { write_atomically("", kNew); }) == ENOENT);
    CHECK(error_of([&] { write_atomically(folder / std::string("a\0b", 3), kNew); }) == EINVAL);
    write_atomically(folder / "file", kOld);
    CHECK(error_of([&] { write_atomically(folder / "file/model", kNew); }) == ENOTDIR);
    CHECK((folder.names() == Names{"file", "folder", "pipe"}));
    try {
        write_atomically(folder / "missing/model", kNew);
    } catch (const Error& error) {
        CHECK(error.what() == folder / "missing" + ": open: No such file or directory");
    }
}

TEST(every_failing_call_leaves_a_whole_file) {
    for (const bool existing : {true, false}) {
        const Folder folder;
        const std::string path = folder / "model";
        Plan each;
        each.transfer_limit = 30000;
        const auto save = [&] { write_atomically(path, kNew); };
        if (existing) write_atomically(path, kOld);
        CHECK(error_under(each, save) == 0);
        const std::vector<std::string> all = calls;
        CHECK(count("write") == 4 && count("fsync") == 2 && count("close") == 2 && count("renameat") == 1);
        const int descriptors = count_descriptors();

        each.mishap = Mishap::error;
        for (const int code : {EIO, ENOSPC, EDQUOT}) {
            each.code = code;
            for (each.countdown = 0; each.countdown < static_cast<int>(all.size()); ++each.countdown) {
                fs::remove(path);
                if (existing) write_atomically(path, kOld);
                CHECK(error_under(each, save) == code);
                const auto renamed = std::find(all.begin(), all.end(), "renameat") - all.begin();
                if (each.countdown > renamed) {
                    CHECK(read_file(path) == kNew);
                } else {
                    CHECK(existing ? read_file(path) == kOld : !fs::exists(path));
                }
                CHECK(folder.names().size() == (fs::exists(path) ? 1 : 0));
                CHECK(count_descriptors() == descriptors);
            }
            counted("system calls of a save that failed in C++", all.size());
        }
    }
}

TEST(interrupted_calls_are_repeated) {
    const Folder folder;
    write_atomically(folder / "model", kOld);
    for (const std::string_view call : {"open", "openat", "write"}) {
        CHECK(error_under({Mishap::error, call, 0, 3, EINTR, 1000},
                          [&] { write_atomically(folder / "model", kNew); }) == 0);
        CHECK(read_file(folder / "model") == kNew);
    }
    for (const std::string_view call : {"open", "read"}) {
        std::string bytes;
        CHECK(error_under({Mishap::error, call, 0, 3, EINTR, 1000}, [&] { bytes = read_file(folder / "model"); }) == 0);
        CHECK(bytes == kNew);
    }
}

TEST(a_failed_fsync_or_close_is_not_repeated) {
    const Folder folder;
    write_atomically(folder / "model", kOld);
    for (const int code : {EINTR, EIO}) {
        CHECK(error_under({Mishap::error, "fsync", 0, 1, code}, [&] { write_atomically(folder / "model", kNew); }) ==
              code);
        CHECK(count("fsync") == 1 && count("renameat") == 0);
        CHECK(error_under({Mishap::error, "close", 0, 1, code}, [&] { write_atomically(folder / "model", kNew); }) ==
              code);
        CHECK(count("close") == 2 && count("renameat") == 0);  // the file's, the folder's
    }
    CHECK(read_file(folder / "model") == kOld);
}

TEST(a_folder_without_fsync_will_do) {
    const Folder folder;
    CHECK(error_under({Mishap::error, "fsync", 1, 1, EINVAL}, [&] { write_atomically(folder / "model", kNew); }) == 0);
    CHECK(count("fsync") == 2);
    CHECK(error_under({Mishap::error, "fsync", 0, 1, EINVAL}, [&] { write_atomically(folder / "model", kNew); }) ==
          EINVAL);
}

TEST(a_write_that_writes_nothing_is_an_error) {
    const Folder folder;
    CHECK(error_under({Mishap::error, "write", 1, 1, 0, 1000}, [&] { write_atomically(folder / "model", kNew); }) ==
          EIO);
    CHECK(folder.names().empty());
}

TEST(the_file_size_limit_leaves_the_old_file) {
    const Folder folder;
    write_atomically(folder / "model", kOld);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{50000, before.rlim_max};
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &small);
    const int code = error_of([&] { write_atomically(folder / "model", kNew); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
    CHECK(code == EFBIG);
    CHECK(read_file(folder / "model") == kOld);
    CHECK(folder.names() == Names{"model"});
}

TEST(killed_at_any_call_the_file_is_old_or_new) {
    const Folder folder;
    const std::string path = folder / "model";
    Plan each;
    each.transfer_limit = 30000;
    write_atomically(path, kOld);
    CHECK(error_under(each, [&] { write_atomically(path, kNew); }) == 0);
    const std::vector<std::string> all = calls;
    const auto renamed = std::find(all.begin(), all.end(), "renameat") - all.begin();
    each.mishap = Mishap::killed;
    for (each.countdown = 0; each.countdown < static_cast<int>(all.size()); ++each.countdown) {
        write_atomically(path, kOld);
        const pid_t child = ::fork();
        if (child == 0) {
            error_under(each, [&] { write_atomically(path, kNew); });
            ::_exit(1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK(read_file(path) == (each.countdown > renamed ? kNew : kOld));
    }
    counted("kills at a system call of a save in C++", all.size());
    // What the dead left behind hinders nobody.
    CHECK(folder.names().size() > 1);
    write_atomically(path, "next");
    CHECK(read_file(path) == "next");
}

TEST(a_leftover_temporary_file_is_stepped_over) {
    const Folder folder;
    const std::string leftover = ".isthmus-" + std::to_string(::getpid()) + "-0.tmp";
    write_atomically(folder / leftover, kOld);
    write_atomically(folder / "model", kNew);
    CHECK(read_file(folder / leftover) == kOld && read_file(folder / "model") == kNew);
    CHECK(folder.names().size() == 2);
}

TEST(many_savers_on_one_path_leave_one_whole_file) {
    const Folder folder;
    const std::string path = folder / "model";
    write_atomically(path, std::string(70000, 'a'));
    std::atomic<int> torn = 0;
    std::vector<std::thread> savers;
    for (int i = 0; i < 4; ++i) {
        savers.emplace_back([&, i] {
            for (int round = 0; round < 20; ++round) {
                const std::string own(70000 + static_cast<std::size_t>(i), static_cast<char>('a' + i));
                std::string read;
                const int code = error_of([&] {
                    write_atomically(path, own);
                    read = read_file(path);
                });
                const bool whole = code == 0 && !read.empty() && read.find_first_not_of(read[0]) == std::string::npos &&
                                   read.size() == 70000 + static_cast<std::size_t>(read[0] - 'a');
                torn += whole ? 0 : 1;
            }
        });
    }
    for (std::thread& saver : savers) saver.join();
    CHECK(torn == 0);
    CHECK(folder.names() == Names{"model"});
}

// ---- reading ------------------------------------------------------------------------------------------------------

TEST(pipes_and_short_reads_are_read_to_their_end) {
    const Folder folder;
    const std::string path = folder / "pipe";
    ::mkfifo(path.c_str(), 0600);
    std::thread writer([&] {
        const int descriptor = ::open(path.c_str(), O_WRONLY);
        for (std::size_t at = 0; at < kNew.size();) {
            const ssize_t written = ::write(descriptor, kNew.data() + at, kNew.size() - at);
            if (written <= 0) break;
            at += static_cast<std::size_t>(written);
        }
        ::close(descriptor);
    });
    CHECK(read_file(path) == kNew);
    writer.join();
    write_atomically(folder / "file", kNew);
    std::string bytes;
    Plan piecemeal;
    piecemeal.transfer_limit = 777;
    CHECK(error_under(piecemeal, [&] { bytes = read_file(folder / "file"); }) == 0);
    CHECK(bytes == kNew);
}

TEST(what_cannot_be_read_is_an_error) {
    const Folder folder;
    write_atomically(folder / "file", kNew);
    CHECK(error_of([&] { read_file(folder / "missing"); }) == ENOENT);
    CHECK(error_of([&] { read_file(folder / ""); }) == EISDIR);
    CHECK(error_of([&] { read_file("/dev/zero"); }) == EINVAL);
    CHECK(error_of([&] { read_file(""); }) == ENOENT);
    CHECK(error_of([&] { read_file(folder / std::string("file\0", 5)); }) == EINVAL);
    const int descriptors = count_descriptors();
    CHECK(error_under({Mishap::error, "read", 2, 1, EIO, 1000}, [&] { read_file(folder / "file"); }) == EIO);
    CHECK(count_descriptors() == descriptors);
}
