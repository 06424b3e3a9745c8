// SPDX-License-Identifier: Apache-2.0
// Sessions: the bits of the plain calls, no allocation after construction, several threads. Every way to memory that
// libisthmus.so has, malloc and its like as well as operator new, goes through the counters below: the functions of the
// program come before those of the C library.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "rows.hpp"

namespace {

std::atomic<long> allocations{0};

}  // namespace

#ifndef ISTHMUS_SANITIZED
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
    ++allocations;
    return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
    ++allocations;
    return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
    ++allocations;
    return __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) {
    ++allocations;
    return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
    *memory = memalign(alignment, size);
    return *memory == nullptr ? 12 : 0;
}
}
#endif

namespace {

struct Case {
    const char* name;
    std::int64_t n_features;
    const char* parameters;
    bool trained;
    bool holes = false;  // its rows have missing values
};

const Case kCases[] = {
    {"plain", 20, R"({"encoder_layers": [12, 5], "random_state": 1, "epochs": 2})", true},
    {"bce", 33, R"({"encoder_layers": [7], "loss": "bce", "random_state": 1, "epochs": 1})", true},
    {"scaled", 20, R"({"encoder_layers": [12, 5], "scaling": "standard", "random_state": 1, "epochs": 2})", true},
    {"clipped", 16, R"({"encoder_layers": [6], "loss": "bce", "scaling": "minmax", "random_state": 1, "epochs": 1})",
     true},
    {"detector", 24, R"({"kind": "anomaly_detector", "random_state": 1, "epochs": 2})", true},
    {"top k", 20,
     R"({"encoder_layers": [12, 6], "code_topk": 2, "tied_weights": true, "random_state": 1, "epochs": 1})", true},
    {"variational", 20,
     R"({"kind": "variational_autoencoder", "encoder_layers": [12, 5], "random_state": 1, "epochs": 1})", true},
    {"missing", 20, R"({"encoder_layers": [12, 5], "missing": "mask", "random_state": 1, "epochs": 2})", true, true},
    {"wide", 784, R"({"encoder_layers": [512, 256, 64], "random_state": 1})", false},
};

// What one session's five calls give, row after row; the session is made for more rows than are asked for.
struct Answers {
    std::vector<float> code, decoded, reconstruction;
    std::vector<double> errors, scores;

    Answers(std::int64_t rows, const isthmus_info& info)
        : code(static_cast<std::size_t>(rows * info.code_size)),
          decoded(static_cast<std::size_t>(rows * info.n_features)),
          reconstruction(decoded.size()),
          errors(static_cast<std::size_t>(rows)),
          scores(errors.size()) {}

    // Bits: the error of a row of which nothing is there is NaN.
    bool operator==(const Answers& other) const {
        const auto same = [](const auto& a, const auto& b) {
            return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
        };
        return same(code, other.code) && same(decoded, other.decoded) && same(reconstruction, other.reconstruction) &&
               same(errors, other.errors) && same(scores, other.scores);
    }

    bool ask(isthmus_session* session, const float* x, std::int64_t rows) {
        return isthmus_session_encode(session, x, rows, code.data(), code.size()) == ISTHMUS_OK &&
               isthmus_session_decode(session, code.data(), rows, decoded.data(), decoded.size()) == ISTHMUS_OK &&
               isthmus_session_reconstruct(session, x, rows, reconstruction.data(), reconstruction.size()) ==
                   ISTHMUS_OK &&
               isthmus_session_errors(session, x, rows, errors.data(), errors.size()) == ISTHMUS_OK &&
               isthmus_session_score_samples(session, x, rows, scores.data(), scores.size()) == ISTHMUS_OK;
    }
    bool ask(const isthmus_model* model, const isthmus_rows& x, const isthmus_info& info) {
        const isthmus_rows codes = table(code, info.code_size);
        return isthmus_encode(model, &x, code.data(), code.size()) == ISTHMUS_OK &&
               isthmus_decode(model, &codes, decoded.data(), decoded.size()) == ISTHMUS_OK &&
               isthmus_reconstruct(model, &x, reconstruction.data(), reconstruction.size()) == ISTHMUS_OK &&
               isthmus_errors(model, &x, ISTHMUS_SCALED, errors.data(), errors.size(), nullptr, 0) == ISTHMUS_OK &&
               isthmus_score_samples(model, &x, scores.data(), scores.size(), nullptr, 0) == ISTHMUS_OK;
    }
};

void train(isthmus_model* model, std::int64_t n_features) {
    const std::vector<float> x = some_rows(300, n_features);
    const isthmus_rows rows = table(x, n_features);
    CHECK(isthmus_fit(model, &rows, nullptr, nullptr) == ISTHMUS_OK);
}

TEST(a_session_has_the_bits_of_the_plain_calls_and_allocates_nothing) {
    for (const Case& c : kCases) {
        const TestModel made(c.n_features, c.parameters);
        CHECK(made.status == ISTHMUS_OK);
        if (c.trained) train(made.model, c.n_features);
        const isthmus_info info = info_of(made.model);
        for (const std::int32_t n_threads : {1, 2}) {
            constexpr std::int64_t kMost = 150;
            isthmus_session* session = nullptr;
            const long before = allocations;
            CHECK(isthmus_session_create(made.model, kMost, n_threads, &session) == ISTHMUS_OK);
#ifndef ISTHMUS_SANITIZED
            CHECK(allocations > before);  // the counter counts
#endif
            for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{3}, std::int64_t{64}, kMost}) {
                std::vector<float> x = some_rows(rows, c.n_features, 5);
                if (c.holes) x[1] = std::nanf("");
                if (c.holes && rows > 1) std::fill_n(x.end() - c.n_features, c.n_features, std::nanf(""));
                Answers plain(rows, info);
                Answers answers(rows, info);
                CHECK(plain.ask(made.model, table(x, c.n_features), info));
                // A second thread's stack and the team are made when they are first needed, by whoever needs them.
                if (n_threads > 1) CHECK(answers.ask(session, x.data(), rows));
                const long asked = allocations;
                const bool done = answers.ask(session, x.data(), rows);
                const long count = allocations - asked;
                CHECK(done);
                if (count != 0) std::printf("%s, %d rows: %ld allocations\n", c.name, static_cast<int>(rows), count);
                CHECK(count == 0);
                CHECK(answers == plain);
            }
            isthmus_session_destroy(session);
        }
    }
}

TEST(each_of_several_threads_has_a_session) {
    const TestModel made(20, kCases[2].parameters);
    train(made.model, 20);
    const isthmus_info info = info_of(made.model);
    const std::vector<float> x = some_rows(40, 20, 9);
    Answers expected(40, info);
    CHECK(expected.ask(made.model, table(x, 20), info));
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            isthmus_session* session = nullptr;
            if (isthmus_session_create(made.model, 40, 1, &session) != ISTHMUS_OK) return;
            Answers answers(40, info);
            bool all = true;
            for (int i = 0; i < 50; ++i) all = all && answers.ask(session, x.data(), 40) && answers == expected;
            isthmus_session_destroy(session);
            right += all ? 1 : 0;
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 4);
}

TEST(a_session_outlives_its_model_and_sees_it_trained) {
    isthmus_session* session = nullptr;
    const std::vector<float> x = some_rows(1, 20, 9);
    std::vector<float> before(20);
    std::vector<float> after(20);
    {
        const TestModel made(20, kCases[0].parameters);
        CHECK(isthmus_session_create(made.model, 1, 1, &session) == ISTHMUS_OK);
        CHECK(isthmus_session_reconstruct(session, x.data(), 1, before.data(), 20) == ISTHMUS_OK);
        train(made.model, 20);
        CHECK(isthmus_session_reconstruct(session, x.data(), 1, after.data(), 20) == ISTHMUS_OK);
        CHECK(before != after);
        before = after;
    }
    CHECK(isthmus_session_reconstruct(session, x.data(), 1, after.data(), 20) == ISTHMUS_OK);
    CHECK(before == after);
    isthmus_session_destroy(session);
}

TEST(what_a_session_refuses) {
    const TestModel made(20, kCases[0].parameters);
    isthmus_session* session = nullptr;
    CHECK(isthmus_session_create(made.model, 0, 1, &session) == ISTHMUS_VALUE);
    CHECK(isthmus_session_create(made.model, 1, -1, &session) == ISTHMUS_VALUE);
    CHECK(isthmus_session_create(nullptr, 1, 1, &session) == ISTHMUS_VALUE);
    CHECK(isthmus_session_create(made.model, 1, 1, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_session_create(made.model, 2, 1, &session) == ISTHMUS_OK);
    std::vector<float> x = some_rows(3, 20);
    std::vector<float> y(60);
    CHECK(isthmus_session_reconstruct(session, x.data(), 3, y.data(), 60) == ISTHMUS_VALUE);
    CHECK(std::string(isthmus_last_error()) == "the session was made for 2 rows; got 3");
    CHECK(isthmus_session_reconstruct(session, x.data(), 0, y.data(), 0) == ISTHMUS_VALUE);
    CHECK(isthmus_session_reconstruct(session, x.data(), -1, y.data(), 0) == ISTHMUS_VALUE);
    CHECK(isthmus_session_reconstruct(session, x.data(), 2, y.data(), 60) == ISTHMUS_VALUE);
    CHECK(isthmus_session_reconstruct(session, nullptr, 2, y.data(), 40) == ISTHMUS_VALUE);
    CHECK(isthmus_session_reconstruct(session, x.data(), 2, nullptr, 40) == ISTHMUS_VALUE);
    CHECK(isthmus_session_reconstruct(nullptr, x.data(), 2, y.data(), 40) == ISTHMUS_VALUE);
    x[7] = std::nanf("");
    CHECK(isthmus_session_reconstruct(session, x.data(), 2, y.data(), 40) == ISTHMUS_VALUE);
    CHECK(std::string(isthmus_last_error()) == "X[0, 7] is nan; X must be finite (no NaN, no infinity)");
    x[7] = 0.0F;
    CHECK(isthmus_session_reconstruct(session, x.data(), 2, y.data(), 40) == ISTHMUS_OK);
    isthmus_session_destroy(session);
    isthmus_session_destroy(nullptr);
}

}  // namespace
