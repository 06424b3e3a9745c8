// SPDX-License-Identifier: Apache-2.0
// The caller's floating-point mode: it changes no number of the C interface, and no call changes it or its flags.
#include <cfenv>
#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "rows.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {

constexpr const char* kParameters =
    R"({"encoder_layers": [6, 3], "epochs": 3, "random_state": 0, "batch_size": 32, "learning_rate": 0.00123,)"
    R"( "scaling": "standard"})";

constexpr std::size_t kWeights = 8 * 6 + 6 + 6 * 3 + 3 + 3 * 6 + 6 + 6 * 8 + 8;

// Rounding as in <cfenv> and, where it is given, what MXCSR has beside that.
struct Mode {
    const char* name;
    int rounding;
    unsigned more = 0;
};

const Mode kModes[] = {
    {"to nearest", FE_TONEAREST},
    {"upward", FE_UPWARD},
    {"downward", FE_DOWNWARD},
    {"toward zero", FE_TOWARDZERO},
#if defined(__x86_64__)
    {"denormals are zero", FE_TONEAREST, 0x8040U},
    {"denormals are zero, upward", FE_UPWARD, 0x8040U},
#endif
};

class InMode {
public:
    explicit InMode(const Mode& mode) {
        std::fegetenv(&saved_);
        std::fesetround(mode.rounding);
        std::feclearexcept(FE_ALL_EXCEPT);
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() | mode.more);
#endif
    }
    ~InMode() { std::fesetenv(&saved_); }
    InMode(const InMode&) = delete;
    InMode& operator=(const InMode&) = delete;

private:
    std::fenv_t saved_{};
};

// All of it, flags too.
std::uint64_t mode_now() {
#if defined(__x86_64__)
    return _mm_getcsr();
#else
    return static_cast<std::uint64_t>(std::fegetround()) << 32 |
           static_cast<std::uint64_t>(std::fetestexcept(FE_ALL_EXCEPT));
#endif
}

// Of float and double; on x86-64 fegetround() speaks of long double.
bool rounds_to_nearest() {
#if defined(__x86_64__)
    return _MM_GET_ROUNDING_MODE() == _MM_ROUND_NEAREST;
#else
    return std::fegetround() == FE_TONEAREST;
#endif
}

int note_rounding(void* user, const isthmus_epoch* /*epoch*/) {
    *static_cast<bool*>(user) = rounds_to_nearest();
    return 0;
}

struct Outcome {
    std::string file;
    std::vector<float> weights, code, reconstruction;
    std::vector<double> errors;

    // The epochs' seconds, which are in the file, differ from fit to fit.
    bool operator==(const Outcome& other) const {
        return file.size() == other.file.size() && weights == other.weights && code == other.code &&
               reconstruction == other.reconstruction && errors == other.errors;
    }
};

// Every kind of call, with values that are denormal and that no float holds exactly.
Outcome everything(const std::vector<double>& x) {
    isthmus_rows rows{};
    rows.data = x.data();
    rows.cols = 8;
    rows.rows = static_cast<std::int64_t>(x.size()) / rows.cols;
    rows.type = ISTHMUS_FLOAT64;
    const auto count = static_cast<std::size_t>(rows.rows);
    Outcome outcome{{},
                    std::vector<float>(kWeights),
                    std::vector<float>(3 * count),
                    std::vector<float>(8 * count),
                    std::vector<double>(count)};

    bool to_nearest = false;
    isthmus_fit_options options{};
    options.struct_size = sizeof(options);
    options.on_epoch_end = &note_rounding;
    options.user = &to_nearest;
    const TestModel made(8, kParameters);
    CHECK(isthmus_fit(made.model, &rows, &options, nullptr) == ISTHMUS_OK);
    CHECK(to_nearest);
    CHECK(isthmus_encode(made.model, &rows, outcome.code.data(), outcome.code.size()) == ISTHMUS_OK);
    CHECK(isthmus_get_weights(made.model, outcome.weights.data(), kWeights) == ISTHMUS_OK);
    outcome.file = bytes_of(made.model, 1);

    isthmus_model* loaded = nullptr;
    CHECK(isthmus_from_bytes(outcome.file.data(), outcome.file.size(), nullptr, &loaded) == ISTHMUS_OK);
    CHECK(isthmus_reconstruct(loaded, &rows, outcome.reconstruction.data(), outcome.reconstruction.size()) ==
          ISTHMUS_OK);
    isthmus_session* session = nullptr;
    CHECK(isthmus_session_create(loaded, rows.rows, 1, &session) == ISTHMUS_OK);
    CHECK(isthmus_session_errors(session, outcome.reconstruction.data(), rows.rows, outcome.errors.data(), count) ==
          ISTHMUS_OK);
    isthmus_session_destroy(session);
    isthmus_destroy(loaded);
    return outcome;
}

TEST(the_callers_mode_changes_nothing_and_is_not_changed) {
    std::vector<double> x;
    for (const float value : some_rows(64, 8)) x.push_back(static_cast<double>(value) / 3.0);
    x[5] = 1e-40;  // denormal in float32
    x[9] = 1e-310;
    Outcome expected;
    {
        const InMode mode(kModes[0]);
        expected = everything(x);
    }
    for (const Mode& mode : kModes) {
        const InMode in_mode(mode);
        const std::uint64_t before = mode_now();
        const Outcome found = everything(x);
        const std::uint64_t after = mode_now();
        if (after != before || !(found == expected)) std::printf("%s\n", mode.name);
        CHECK(after == before);
        CHECK(found == expected);
    }
}

TEST(a_mode_is_kept_when_a_call_fails) {
    const InMode mode({"upward", FE_UPWARD});
    const std::uint64_t before = mode_now();
    char* text = nullptr;
    CHECK(isthmus_check_parameters(R"({"learning_rate": -0.1})", &text) == ISTHMUS_VALUE);
    CHECK(isthmus_load("/no/such/file", nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(mode_now() == before);
    CHECK(isthmus_check_parameters(R"({"learning_rate": 0.001})", &text) == ISTHMUS_OK);
    CHECK(std::string(text).find("\"learning_rate\":0.001,") != std::string::npos);
    isthmus_free(text);
}

}  // namespace
