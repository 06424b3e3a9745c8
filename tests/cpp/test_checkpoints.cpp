// SPDX-License-Identifier: Apache-2.0
// A process that is killed at any system call of a fit that leaves checkpoints, or whose disk fails at any of them:
// what is left is resumed to the bits of the fit that was not.
#include "core/checkpoints.hpp"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/file.hpp"
#include "system_calls.hpp"
#include "training_fixture.hpp"

// The one call of a writer of checkpoints that system_calls.hpp leaves alone.
extern "C" int unlinkat(int folder, const char* path, int flags) noexcept {
    if (system_calls::strikes("unlinkat")) return -1;
    return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags));
}

using namespace fixture;
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
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::set<std::string> names() const {
        std::set<std::string> all;
        for (const auto& entry : fs::directory_iterator(path)) all.insert(entry.path().filename().string());
        return all;
    }

    std::string path;
};

Configuration five_epochs() {
    Configuration configuration = small_configuration();
    configuration.epochs = 5;
    configuration.learning_rate_schedule = Schedule::cosine;
    configuration.patience = 5;
    return configuration;
}

const Rows& rows() {
    static const Rows all = make_rows(20, kWidth);
    return all;
}

// One thread: a process that has several must not fork and train.
Autoencoder one_thread(const Configuration& configuration = five_epochs()) {
    CompileOptions options;
    options.n_threads = 1;
    return {configuration, kWidth, 11, cpu::device(), options};
}

const std::vector<float>& straight() {
    static const std::vector<float> weights = [] {
        Autoencoder model = one_thread();
        model.fit(rows().source(), nullptr, {});
        return model.weights();
    }();
    return weights;
}

Checkpointing into(const Folder& folder) {
    Checkpointing how;
    how.folder = folder.path;
    return how;
}

// Goes on from what is in the folder, or begins.
std::vector<float> fit_or_resume(const Folder& folder) {
    if (checkpoints_in(folder.path).empty()) {
        Autoencoder model = one_thread();
        model.fit(rows().source(), nullptr, {}, into(folder));
        return model.weights();
    }
    FoundCheckpoint found = newest_checkpoint(folder.path);
    CHECK(found.skipped.empty());
    CompileOptions options;
    options.n_threads = 1;
    Autoencoder model(std::move(found.model), cpu::device(), options);
    model.resume(five_epochs(), rows().source(), nullptr, {}, into(folder));
    return model.weights();
}

// The calls that a whole fit makes.
int count_calls() {
    const Folder folder;
    Autoencoder model = one_thread();
    plan = {};
    plan.transfer_limit = 1000;
    calls.clear();
    armed = true;
    model.fit(rows().source(), nullptr, {}, into(folder));
    armed = false;
    return static_cast<int>(calls.size());
}

}  // namespace

TEST(killed_at_any_call_it_is_resumed) {
    const int n = count_calls();
    CHECK(n > 50);
    std::set<std::size_t> left;
    for (int call = 0; call < n; ++call) {
        const Folder folder;
        const pid_t child = ::fork();
        if (child == 0) {
            plan = {Mishap::killed, "", call, 1, 0, 1000};
            armed = true;
            fit_or_resume(folder);
            ::_exit(1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        left.insert(checkpoints_in(folder.path).size());
        CHECK(same_bits(fit_or_resume(folder), straight()));
        // Nothing half-written stays.
        CHECK(folder.names().size() == kCheckpointsKept && checkpoints_in(folder.path).size() == kCheckpointsKept);
    }
    CHECK(left == (std::set<std::size_t>{0, 1, 2, 3, 4}));  // 4: killed between writing one and removing another
}

TEST(whatever_call_fails_the_fit_goes_on) {
    const int n = count_calls();
    for (const int code : {ENOSPC, EIO}) {
        int told_of = 0;
        for (int call = 0; call < n; ++call) {
            const Folder folder;
            Autoencoder model = one_thread();
            Checkpointing how = into(folder);
            std::vector<std::string> told;
            how.on_failure = [&](const std::string& why) { told.push_back(why); };
            plan = {Mishap::error, "", call, 1, code, 1000};
            armed = true;
            bool begun = true;
            try {
                model.fit(rows().source(), nullptr, {}, how);
            } catch (const Error& error) {
                begun = false;
                CHECK(error.kind() == ErrorKind::io && error.code() == code);
            }
            armed = false;
            CHECK(told.size() <= 1);
            told_of += static_cast<int>(told.size());
            if (begun) CHECK(same_bits(model.weights(), straight()));
            CHECK(same_bits(fit_or_resume(folder), straight()));
            CHECK(folder.names().size() <= kCheckpointsKept + 1);  // one that could not be removed
        }
        CHECK(told_of > n / 2);
    }
}

TEST(a_full_disk_for_the_rest_of_the_fit) {
    const Folder folder;
    Autoencoder model = one_thread();
    Checkpointing how = into(folder);
    int told = 0;
    how.on_failure = [&](const std::string& why) {
        ++told;
        CHECK(why.find("write: No space left on device") != std::string::npos);
    };
    plan = {Mishap::error, "write", 2, 1000, ENOSPC};
    armed = true;
    model.fit(rows().source(), nullptr, {}, how);
    armed = false;
    CHECK(told == 5 && same_bits(model.weights(), straight()));  // the fifth epoch's is tried again at the end
    CHECK(checkpoints_in(folder.path).size() == 2);
    CHECK(same_bits(fit_or_resume(folder), straight()));
    // Who asks not to be told gets the error, and a model that was trained.
    const Folder other;
    Autoencoder strict = one_thread();
    plan = {Mishap::error, "write", 2, 1000, ENOSPC};
    armed = true;
    CHECK_THROWS(strict.fit(rows().source(), nullptr, {}, into(other)), ErrorKind::io);
    armed = false;
    CHECK(strict.state().epoch == 2);
}

TEST(names_are_read_as_they_are_written) {
    const Folder folder;
    const auto make = [&](const char* name) { write_atomically(folder.path + "/" + name, "x"); };
    for (const char* name :
         {"epoch-000002-step-000000000009.safetensors", "epoch-000010-step-000000000001.safetensors",
          "epoch-1000000-step-000000000001.safetensors", "epoch-000002-step-1000000000000.safetensors"}) {
        make(name);
    }
    for (const char* name :
         {"epoch-00002-step-000000000009.safetensors", "epoch-000002-step-000000000009",
          "epoch-0000002-step-000000000009.safetensors", "epoch--00002-step-000000000009.safetensors",
          "epoch-000002-step-00000000009x.safetensors", "xepoch-000002-step-000000000009.safetensors",
          "epoch-99999999999999999999-step-000000000009.safetensors"}) {
        make(name);
    }
    std::vector<std::string> found;
    for (const std::string& path : checkpoints_in(folder.path)) found.push_back(path.substr(folder.path.size() + 1));
    CHECK((found == std::vector<std::string>{
                        "epoch-000002-step-000000000009.safetensors", "epoch-000002-step-1000000000000.safetensors",
                        "epoch-000010-step-000000000001.safetensors", "epoch-1000000-step-000000000001.safetensors"}));
}
