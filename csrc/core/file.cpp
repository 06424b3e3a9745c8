// SPDX-License-Identifier: Apache-2.0
// Everything happens relative to one descriptor of the folder, so that a folder that is moved meanwhile is no race.
#include "core/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "isthmus/types.hpp"

namespace isthmus {
namespace {

constexpr int kMaxLinks = 40;                                    // as the kernel's own limit
constexpr int kMaxTemporaryNames = 10000;                        // left behind by killed processes of the same id
constexpr std::size_t kLargestTransfer = std::size_t{1} << 30U;  // some systems refuse 2^31 bytes in one call

[[noreturn]] void fail(const char* call, const std::string& path, int code) {
    throw Error(ErrorKind::io, path + ": " + call + ": " + std::generic_category().message(code), code);
}

class Descriptor {
public:
    explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    int get() const { return descriptor_; }
    // Closed whatever close returns: after an error Linux has freed the number, and closing again could hit another's.
    int close() { return ::close(std::exchange(descriptor_, -1)); }

private:
    int descriptor_;
};

// Removes the temporary file unless it was renamed.
class Temporary {
public:
    Temporary(int folder, std::string name) : folder_(folder), name_(std::move(name)) {}
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    ~Temporary() {
        if (!renamed_) ::unlinkat(folder_, name_.c_str(), 0);
    }

    const char* name() const { return name_.c_str(); }
    void set_renamed() { renamed_ = true; }

private:
    int folder_;
    std::string name_;
    bool renamed_ = false;
};

template <class Call>
auto retry_interrupted(Call&& call) {
    auto result = call();
    while (result < 0 && errno == EINTR) result = call();
    return result;
}

// The path with symbolic links in its last part followed, also when the last of them points to nothing yet.
std::filesystem::path follow_links(const std::string& path) {
    std::filesystem::path target = path;
    for (int i = 0; i < kMaxLinks; ++i) {
        std::error_code error;
        const std::filesystem::path next = std::filesystem::read_symlink(target, error);
        if (error.value() == EINVAL || error.value() == ENOENT) return target;  // not a link; nothing there
        if (error) fail("readlink", path, error.value());
        target = target.parent_path() / next;
    }
    fail("readlink", path, ELOOP);
}

void write_all(int descriptor, std::string_view bytes, const std::string& path) {
    while (!bytes.empty()) {
        const std::size_t size = std::min(bytes.size(), kLargestTransfer);
        const ssize_t written = retry_interrupted([&] { return ::write(descriptor, bytes.data(), size); });
        if (written < 0) fail("write", path, errno);
        if (written == 0) fail("write", path, EIO);
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

// Of the file that is to be replaced; nullopt when there is none. Refuses what is no regular, writable file.
std::optional<struct stat> existing_file(int folder, const std::string& name, const std::string& path) {
    struct stat status{};
    if (::fstatat(folder, name.c_str(), &status, 0) != 0) {
        if (errno == ENOENT) return std::nullopt;
        fail("stat", path, errno);
    }
    if (S_ISDIR(status.st_mode)) fail("stat", path, EISDIR);
    if (!S_ISREG(status.st_mode)) fail("stat (not a regular file)", path, EINVAL);
    if (::faccessat(folder, name.c_str(), W_OK, AT_EACCESS) != 0) fail("access", path, errno);
    return status;
}

// Owner, group and permissions of the old file for the new one. Only root may give a file away, and others only to a
// group of theirs: who may not becomes its owner, as with every program that replaces files.
void take_over(int file, const struct stat& old, const std::string& path) {
    struct stat now{};
    if (::fstat(file, &now) != 0) fail("stat", path, errno);
    if (now.st_uid != old.st_uid || now.st_gid != old.st_gid) {
        int result = ::fchown(file, old.st_uid, old.st_gid);
        if (result != 0 && errno == EPERM) result = ::fchown(file, static_cast<uid_t>(-1), old.st_gid);
        if (result != 0 && errno != EPERM) fail("fchown", path, errno);
    }
    if (::fchmod(file, old.st_mode & 0777U) != 0) fail("fchmod", path, errno);
}

}  // namespace

void write_atomically(const std::string& path, std::string_view bytes, std::string_view temporary_start) {
    if (path.find('\0') != std::string::npos) fail("open", path, EINVAL);
    const std::filesystem::path target = follow_links(path);
    const std::string name = target.filename().string();
    if (name.empty()) fail("open", path, path.empty() ? ENOENT : EISDIR);
    const std::string folder_path = target.has_parent_path() ? target.parent_path().string() : ".";

    Descriptor folder(
        retry_interrupted([&] { return ::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (folder.get() < 0) fail("open", folder_path, errno);
    const std::optional<struct stat> old = existing_file(folder.get(), name, path);

    // O_EXCL makes the name ours, among threads as among processes. It is short: name itself may be as long as names
    // go. Nobody else may open it before it has the old file's permissions.
    const mode_t mode = old ? 0600 : 0666;
    std::string temporary_name;
    int descriptor = -1;
    for (int i = 0; descriptor < 0 && i < kMaxTemporaryNames; ++i) {
        temporary_name = temporary_start;
        temporary_name += std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp";
        descriptor = retry_interrupted([&] {
            return ::openat(folder.get(), temporary_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        });
        if (descriptor < 0 && errno != EEXIST) break;
    }
    if (descriptor < 0) fail("open of a temporary file beside it", path, errno);
    Descriptor file(descriptor);
    Temporary temporary(folder.get(), std::move(temporary_name));  // no copy, which may find no memory

    if (old) take_over(file.get(), *old, path);
    write_all(file.get(), bytes, path);
    // Not retried, not even after EINTR: a second fsync may report success for pages that the first one dropped.
    if (::fsync(file.get()) != 0) fail("fsync", path, errno);
    if (file.close() != 0) fail("close", path, errno);
    if (::renameat(folder.get(), temporary.name(), folder.get(), name.c_str()) != 0) fail("rename", path, errno);
    temporary.set_renamed();
    // EINVAL: a file system that has no fsync for folders.
    if (::fsync(folder.get()) != 0 && errno != EINVAL) fail("fsync of its folder", path, errno);
    if (folder.close() != 0) fail("close of its folder", path, errno);
}

std::string read_file(const std::string& path) {
    if (path.find('\0') != std::string::npos) fail("open", path, EINVAL);
    Descriptor file(retry_interrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
    if (file.get() < 0) fail("open", path, errno);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) fail("stat", path, errno);
    if (S_ISDIR(status.st_mode)) fail("read", path, EISDIR);
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) fail("read (a device)", path, EINVAL);

    // The size is a first guess: a pipe has none, and a file may grow.
    std::string bytes(static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) + 1, '\0');
    std::size_t size = 0;
    while (true) {
        if (size == bytes.size()) bytes.resize(2 * size);
        const std::size_t room = std::min(bytes.size() - size, kLargestTransfer);
        const ssize_t n = retry_interrupted([&] { return ::read(file.get(), bytes.data() + size, room); });
        if (n < 0) fail("read", path, errno);
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    bytes.resize(size);
    return bytes;
}

}  // namespace isthmus
