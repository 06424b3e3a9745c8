// SPDX-License-Identifier: Apache-2.0
// Opening the CUDA library: what is found is said, once, and a fork is noticed. The first look decides for the life of
// a process, so that every case has a process of its own. ISTHMUS_STUB is the library of cuda_library_stub.cpp.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "check.hpp"
#include "device/cuda_driver.hpp"
#include "device/cuda_library.hpp"

using namespace isthmus;

namespace {

// Number of failed checks of `body` in a forked child; -1 when the child did not come to its end.
int in_a_child(const std::function<void()>& body) {
    std::fflush(stdout);  // or the child says it again
    const pid_t child = fork();
    if (child == 0) {
        const int before = check::failures();
        try {
            body();
        } catch (const std::exception& error) {
            std::printf("exception: %s\n", error.what());
            ++check::failures();
        }
        std::fflush(stdout);
        _exit(check::failures() - before);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// With ISTHMUS_CUDA_LIBRARY set to `library`, or not set.
int with_library(const char* library, const std::function<void()>& body) {
    return in_a_child([&] {
        if (library != nullptr) {
            setenv("ISTHMUS_CUDA_LIBRARY", library, 1);
        } else {
            unsetenv("ISTHMUS_CUDA_LIBRARY");
        }
        body();
    });
}

std::string refusal(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::runtime);
        return error.what();
    }
    return "no error";
}

bool says(const std::string& text, const std::string& words) {
    if (text.find(words) != std::string::npos) return true;
    std::printf("\"%s\" does not say \"%s\"\n", text.c_str(), words.c_str());
    return false;
}

// Twice, since the second time goes by what the first one found.
void check_missing(const std::string& words) {
    for (int time = 0; time < 2; ++time) {
        const std::string text = refusal([] { cuda_device(0); });
        CHECK(says(text, words));
        CHECK(says(text, "cuda:0"));
        CHECK(first_cuda_device().device == nullptr);
        CHECK(says(first_cuda_device().why_not, words));
        CHECK(!cuda_library().error.empty());
        refuse_cuda_after_fork();  // nothing was used
    }
}

}  // namespace

TEST(a_library_that_is_not_there) {
    CHECK(with_library("/no/such/library.so", [] { check_missing("/no/such/library.so, which does not exist"); }) == 0);
    CHECK(with_library("", [] { check_missing("turns CUDA off"); }) == 0);
    CHECK(with_library(nullptr, [] {
              // Beside this program, unless a build put it there: then the driver is what may be missing.
              if (access(cuda_library().path.c_str(), F_OK) != 0) check_missing("has no CUDA device");
          }) == 0);
}

TEST(a_file_that_is_no_library) {
    CHECK(with_library("/etc/hostname", [] { check_missing("cannot be opened"); }) == 0);
}

TEST(a_library_of_somebody_else) {
    CHECK(with_library("libm.so.6", [] { check_missing("does not exist"); }) == 0);  // a path, not a name to search for
    CHECK(with_library(ISTHMUS_OTHER, [] { check_missing("no isthmus_cuda_device"); }) == 0);
}

TEST(devices_and_what_they_throw) {
    CHECK(with_library(ISTHMUS_STUB, [] {
              CHECK(first_cuda_device().device == &cuda_device(0));
              CHECK(cuda_device(0).name() == "cuda:0");
              CHECK(cuda_device(1).name() == "cuda:1");
              CHECK(says(refusal([] { cuda_device(2); }), "device=\"cuda:2\": the stub has 2 devices"));
              CHECK(cuda_library().error.empty());
              CHECK_THROWS(cuda_device(0).compile(Program(), CompileOptions()), ErrorKind::memory);
          }) == 0);
}

TEST(a_fork_after_use_is_noticed) {
    CHECK(with_library(ISTHMUS_STUB, [] {
              CHECK(in_a_child([] {
                        refuse_cuda_after_fork();  // the parent has not used it yet
                        CHECK(cuda_device(0).name() == "cuda:0");
                    }) == 0);
              cuda_device(0);
              CHECK(in_a_child([] {
                        CHECK(says(refusal([] { cuda_device(0); }), "forked"));
                        CHECK(says(refusal(refuse_cuda_after_fork), "spawn"));
                        CHECK(first_cuda_device().device == nullptr);
                        CHECK(says(first_cuda_device().why_not, "forked"));
                    }) == 0);
              CHECK(cuda_device(0).name() == "cuda:0");  // the parent goes on
          }) == 0);
}

TEST(a_driver_is_described_in_a_line) {
    const CudaDriver none = cuda_driver();
    CHECK(cuda_driver_present() || says(describe(none), "libcuda.so.1"));
    CHECK(describe({"", 13000, {{"NVIDIA H200", 9, 0, 1}}}) == "a driver for CUDA 13.0 and NVIDIA H200");
    CHECK(describe({"", 12080, {}}) == "a driver for CUDA 12.8 and no GPU");
}
