// SPDX-License-Identifier: Apache-2.0
// Every allocation behind the C interface fails once, malloc and its like as well as operator new: the answer is
// ISTHMUS_MEMORY, no exception comes through, nothing leaks, and the next call works.
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.hpp"
#include "counts.hpp"
#include "rows.hpp"

#ifndef ISTHMUS_SANITIZED  // a sanitizer has an allocator of its own

namespace {

std::atomic<long> until_failure{-1};  // never
std::atomic<long> living{0};

bool fails() { return until_failure.load() >= 0 && until_failure.fetch_sub(1) == 0; }

void* counted_memory(void* memory) {
    if (memory != nullptr) ++living;
    return memory;
}

}  // namespace

// As in test_session.cpp, these come before those of the C library.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) { return fails() ? nullptr : counted_memory(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return fails() ? nullptr : counted_memory(__libc_calloc(count, size)); }
void* realloc(void* memory, size_t size) {
    if (fails()) return nullptr;
    if (memory == nullptr) ++living;
    return __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) {
    return fails() ? nullptr : counted_memory(__libc_memalign(alignment, size));
}
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
    *memory = memalign(alignment, size);
    return *memory == nullptr ? 12 : 0;
}
void free(void* memory) {
    if (memory != nullptr) --living;
    __libc_free(memory);
}
}

namespace {

// Calls body() with its n-th allocation failing, for n from 0 until there are no more of them; it returns a status.
template <class Body>
void fail_each(const char* what, Body&& body) {
    CHECK(body() == ISTHMUS_OK);  // what is made once for the process is made
    std::size_t failed = 0;
    for (long n = 0;; ++n) {
        const long before = living;
        until_failure = n;
        const isthmus_status status = body();
        const bool reached = until_failure < 0;
        until_failure = -1;
        // What could do without, an exception's place among them, is no error.
        CHECK(status == ISTHMUS_MEMORY || status == ISTHMUS_OK);
        if (status == ISTHMUS_MEMORY) CHECK(!std::string(isthmus_last_error()).empty());
        CHECK(living == before);
        if (!reached) {
            CHECK(status == ISTHMUS_OK);
            break;
        }
        failed += status == ISTHMUS_MEMORY ? 1 : 0;
    }
    if (failed == 0) std::printf("%s allocates nothing\n", what);
    CHECK(failed > 0);
    counted("failed allocations behind the C interface", failed);
}

const char* const kParameters[] = {
    R"({"encoder_layers": [6, 3], "epochs": 1, "random_state": 0, "scaling": "standard", "missing": "mask"})",
    R"({"kind": "anomaly_detector", "encoder_layers": [4, 2], "epochs": 1, "random_state": 0})",
};

TEST(each_allocation_behind_the_interface_may_fail) {
    const std::vector<float> x = some_rows(40, 8);
    const isthmus_rows rows = table(x, 8);
    isthmus_placement placement{};
    placement.struct_size = sizeof(placement);
    placement.device = "cpu";
    placement.n_threads = 1;
    for (const char* parameters : kParameters) {
        isthmus_model* model = nullptr;
        fail_each("create and fit", [&] {
            isthmus_destroy(model);
            model = nullptr;
            isthmus_status status = isthmus_create(8, parameters, &placement, &model);
            if (status == ISTHMUS_OK) status = isthmus_fit(model, &rows, nullptr, nullptr);
            isthmus_destroy(model);
            model = nullptr;
            return status;
        });

        CHECK(isthmus_create(8, parameters, &placement, &model) == ISTHMUS_OK);
        CHECK(isthmus_fit(model, &rows, nullptr, nullptr) == ISTHMUS_OK);
        const std::string trained = bytes_of(model, 1);
        std::vector<double> scores(40);
        fail_each("scores",
                  [&] { return isthmus_score_samples(model, &rows, scores.data(), scores.size(), nullptr, 0); });
        fail_each("a session", [&] {
            isthmus_session* session = nullptr;
            const isthmus_status status = isthmus_session_create(model, 5, 1, &session);
            isthmus_session_destroy(session);
            return status;
        });
        fail_each("to bytes and back", [&] {
            void* bytes = nullptr;
            size_t size = 0;
            isthmus_status status = isthmus_to_bytes(model, 1, &bytes, &size);
            isthmus_model* copy = nullptr;
            if (status == ISTHMUS_OK) status = isthmus_from_bytes(bytes, size, &placement, &copy);
            isthmus_destroy(copy);
            isthmus_free(bytes);
            return status;
        });
        CHECK(bytes_of(model, 1) == trained);  // reading changed nothing
        isthmus_destroy(model);
    }
}

}  // namespace
#endif
