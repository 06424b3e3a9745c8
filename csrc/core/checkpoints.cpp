// SPDX-License-Identifier: Apache-2.0
#include "core/checkpoints.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/file.hpp"
#include "isthmus/types.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEpoch = "epoch-";
constexpr std::string_view kStep = "-step-";
constexpr std::string_view kEnd = ".safetensors";
constexpr std::size_t kEpochDigits = 6;  // at least; numbers are compared, not texts
constexpr std::size_t kStepDigits = 12;
// Those of other saves in the same folder are not ours to remove.
constexpr std::string_view kTemporary = ".isthmus-checkpoint-";

[[noreturn]] void fail(const std::string& path, const std::string& what, int code) {
    throw Error(ErrorKind::io, path + ": " + what, code);
}

[[noreturn]] void fail(const std::string& path, const char* call, const std::error_code& error) {
    fail(path, call + (": " + error.message()), error.value());
}

std::string digits(std::int64_t value, std::size_t width) {
    std::string text = std::to_string(value);
    if (text.size() < width) text.insert(0, width - text.size(), '0');
    return text;
}

std::string name_of(std::int64_t epoch, std::int64_t step) {
    return std::string(kEpoch) + digits(epoch, kEpochDigits) + std::string(kStep) + digits(step, kStepDigits) +
           std::string(kEnd);
}

struct Named {
    std::int64_t epoch, step;
    std::string name;

    bool operator<(const Named& other) const { return std::pair(epoch, step) < std::pair(other.epoch, other.step); }
};

// What name_of gives, read back; nothing for any other text.
std::optional<Named> parse_name(const std::string& name) {
    std::string_view text = name;
    if (!text.starts_with(kEpoch) || !text.ends_with(kEnd)) return std::nullopt;
    Named named{0, 0, name};
    const char* const end = text.data() + text.size();
    const auto epoch = std::from_chars(text.data() + kEpoch.size(), end, named.epoch);
    if (epoch.ec != std::errc{} || !std::string_view(epoch.ptr, end).starts_with(kStep)) return std::nullopt;
    const auto step = std::from_chars(epoch.ptr + kStep.size(), end, named.step);
    if (step.ec != std::errc{} || name_of(named.epoch, named.step) != name) return std::nullopt;
    return named;
}

// Calls body(name) for each regular file; links are none.
template <class Body>
void for_each_file(const std::string& folder, Body&& body) {
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    if (error) fail(folder, "opendir", error);
    while (entry != fs::directory_iterator()) {
        if (entry->symlink_status(error).type() == fs::file_type::regular) body(entry->path().filename().string());
        entry.increment(error);
        if (error) fail(folder, "readdir", error);
    }
}

std::vector<Named> named_in(const std::string& folder) {
    std::vector<Named> all;
    for_each_file(folder, [&](const std::string& name) {
        if (auto named = parse_name(name)) all.push_back(std::move(*named));
    });
    std::sort(all.begin(), all.end());
    return all;
}

// Throws Error for what is no checkpoint, or no whole one.
StoredModel read_checkpoint(const std::string& path) {
    StoredModel model = from_bytes(read_file(path), path);
    if (!model.has_training_state || model.state.fit_last_epoch == 0) {
        throw Error(ErrorKind::model_format, path +
                                                 ": it holds no fit to resume: none was interrupted, or it was saved "
                                                 "without training_state");
    }
    return model;
}

// A new folder's entry, too, shall survive a loss of power.
void make_folder(const std::string& path) {
    std::error_code error;
    if (!fs::create_directories(path, error)) {
        if (error) fail(path, "mkdir", error);
        return;
    }
    const fs::path parent = fs::path(path).parent_path();
    const int descriptor = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;  // it may be one that may be entered, but not read
    ::fsync(descriptor);
    ::close(descriptor);
}

int lock_folder(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) fail(path, "open", std::error_code(errno, std::generic_category()));
    // A file system without locks has to do without.
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        ::close(descriptor);
        fail(path, "another fit is writing its checkpoints there", EWOULDBLOCK);
    }
    return descriptor;
}

}  // namespace

std::vector<std::string> checkpoints_in(const std::string& folder) {
    std::vector<std::string> paths;
    for (const Named& named : named_in(folder)) paths.push_back((fs::path(folder) / named.name).string());
    return paths;
}

FoundCheckpoint newest_checkpoint(const std::string& path) {
    std::error_code error;
    if (!fs::is_directory(path, error)) return {read_checkpoint(path), {}};
    const std::vector<std::string> paths = checkpoints_in(path);
    if (paths.empty()) fail(path, "there is no checkpoint in it", ENOENT);
    FoundCheckpoint found;
    std::string reasons;
    for (auto at = paths.rbegin(); at != paths.rend(); ++at) {
        try {
            found.model = read_checkpoint(*at);
            return found;
        } catch (const Error& failure) {
            found.skipped.push_back({*at, failure.what()});
            reasons += (reasons.empty() ? "" : "; ") + found.skipped.back().reason;
        }
    }
    throw Error(ErrorKind::model_format, path + ": none of its checkpoints will do: " + reasons);
}

CheckpointWriter::CheckpointWriter(const Checkpointing& how, bool resumes) : how_(how), folder_(-1) {
    make_folder(how.folder);
    folder_ = lock_folder(how.folder);
    try {
        if (!resumes && !named_in(how.folder).empty()) {
            throw Error(ErrorKind::value, how.folder + " has checkpoints of another fit; resume goes on with it, and " +
                                              "this one needs a folder without");
        }
        for_each_file(how.folder, [&](const std::string& name) {
            if (name.starts_with(kTemporary)) ::unlinkat(folder_, name.c_str(), 0);
        });
    } catch (...) {
        ::close(folder_);
        throw;
    }
}

CheckpointWriter::~CheckpointWriter() {
    ::flock(folder_, LOCK_UN);  // a child that was forked meanwhile has the descriptor, too
    ::close(folder_);
}

void CheckpointWriter::at(Moment moment, const Progress& progress, const std::function<StoredModel()>& store) {
    if (moment == Moment::epoch && (progress.epoch - progress.fit_first_epoch) % how_.every != 0) return;
    const Place place{progress.epoch, progress.step};
    if (written_ == place) return;
    try {
        write(store(), place);
        written_ = place;
    } catch (const std::exception& failure) {
        if (moment == Moment::begin || !how_.on_failure) throw;
        how_.on_failure(failure.what());
    }
}

void CheckpointWriter::write(const StoredModel& model, Place place) {
    const std::string name = name_of(place.epoch, place.step);
    write_atomically((fs::path(how_.folder) / name).string(), to_bytes(model), kTemporary);
    const std::vector<Named> all = named_in(how_.folder);
    for (std::size_t i = 0; i + kCheckpointsKept < all.size(); ++i) {
        if (all[i].name != name) ::unlinkat(folder_, all[i].name.c_str(), 0);
    }
}

}  // namespace isthmus
