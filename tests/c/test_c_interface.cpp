// SPDX-License-Identifier: Apache-2.0
// The C interface from outside: what it gives, what it refuses and says, and that nothing gets through as an exception.
// That its numbers are those of Python is a test of Python (test_c_library.py).
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "rows.hpp"

namespace {

constexpr const char* kParameters = R"({"encoder_layers": [6, 3], "epochs": 3, "random_state": 0, "batch_size": 32})";

std::string taken(char* text) {
    std::string copy = text;
    isthmus_free(text);
    return copy;
}

TEST(a_model_is_described) {
    const TestModel made(8, kParameters);
    CHECK(made.status == ISTHMUS_OK);
    const isthmus_info info = info_of(made.model);
    CHECK(info.n_features == 8 && info.code_size == 3 && info.epochs == 0 && info.steps == 0);
    CHECK(std::isnan(info.loss) && std::isnan(info.offset));
    char* text = nullptr;
    CHECK(isthmus_get_device(made.model, &text) == ISTHMUS_OK);
    CHECK(taken(text) == "cpu");
    CHECK(isthmus_find_device("cpu", &text) == ISTHMUS_OK);
    CHECK(taken(text) == "cpu");
    CHECK(isthmus_find_device(nullptr, &text) == ISTHMUS_OK);  // "auto", and the test hides CUDA
    CHECK(taken(text) == "cpu");
    CHECK(isthmus_find_device("cuda", &text) == ISTHMUS_RUNTIME);
    CHECK(last_error_has("cuda"));
    CHECK(isthmus_find_device("tpu", &text) == ISTHMUS_VALUE);
    CHECK(isthmus_get_parameters(made.model, &text) == ISTHMUS_OK);
    CHECK(taken(text).find("\"encoder_layers\":[6,3]") != std::string::npos);
}

TEST(parameters_are_those_of_the_core) {
    char* text = nullptr;
    CHECK(isthmus_check_parameters(nullptr, &text) == ISTHMUS_OK);
    const std::string defaults = taken(text);
    CHECK(defaults.find("\"learning_rate\":0.001") != std::string::npos);
    CHECK(isthmus_check_parameters("{}", &text) == ISTHMUS_OK);
    CHECK(taken(text) == defaults);
    CHECK(isthmus_check_parameters(defaults.c_str(), &text) == ISTHMUS_OK);
    CHECK(taken(text) == defaults);
    CHECK(isthmus_check_parameters(R"({"kind": "anomaly_detector", "scaling": null})", &text) == ISTHMUS_OK);
    const std::string detector = taken(text);
    CHECK(detector.find("\"loss\":\"huber\"") != std::string::npos);
    CHECK(detector.find("\"scaling\":null") != std::string::npos);

    CHECK(isthmus_check_parameters(R"({"epoch": 3})", &text) == ISTHMUS_VALUE);
    CHECK(last_error_has("unknown parameter \"epoch\"; known are kind, encoder_layers"));
    CHECK(isthmus_check_parameters(R"({"epochs": "3"})", &text) == ISTHMUS_TYPE);
    CHECK(isthmus_check_parameters(R"({"epochs": 0})", &text) == ISTHMUS_VALUE);
    CHECK(isthmus_check_parameters(R"({"epochs": 1, "epochs": 2})", &text) == ISTHMUS_VALUE);
    CHECK(last_error_has("parameters are no JSON object: "));
    for (const char* wrong : {"", "{", "[]", "3", "{\"epochs\": 1}}", "\xff", "{\"loss\": \"\xff\"}"}) {
        const isthmus_status status = isthmus_check_parameters(wrong, &text);
        CHECK(status == ISTHMUS_VALUE || status == ISTHMUS_TYPE);
    }
    CHECK(isthmus_check_parameters("{}", nullptr) == ISTHMUS_VALUE);
}

struct Seen {
    const isthmus_model* model;
    std::vector<isthmus_epoch> epochs;
    std::vector<isthmus_status> reads, writes;
    std::int64_t stop_after = 0;
    std::int64_t polls = 0;
    isthmus_status inside_a_step = ISTHMUS_OK;
};

int on_epoch_end(void* user, const isthmus_epoch* epoch) {
    auto& seen = *static_cast<Seen*>(user);
    seen.epochs.push_back(*epoch);
    const std::vector<float> x = some_rows(2, 8);
    const isthmus_rows rows = table(x, 8);
    std::vector<float> code(6);
    seen.reads.push_back(isthmus_encode(seen.model, &rows, code.data(), code.size()));
    seen.writes.push_back(
        isthmus_partial_fit(const_cast<isthmus_model*>(seen.model), &rows, nullptr, 0));  // NOLINT: to be refused
    return epoch->epoch == seen.stop_after ? 1 : 0;
}

int stop_at_the_fifth_poll(void* user) {
    auto& seen = *static_cast<Seen*>(user);
    isthmus_info info{};
    info.struct_size = sizeof(info);
    seen.inside_a_step = isthmus_get_info(seen.model, &info);
    return ++seen.polls == 5 ? 1 : 0;
}

TEST(training_is_told_and_stopped) {
    const std::vector<float> x = some_rows(96, 8);
    const std::vector<float> held_out = some_rows(10, 8, 1);
    const isthmus_rows rows = table(x, 8);
    const isthmus_rows validation = table(held_out, 8);
    const TestModel made(8, kParameters);
    Seen seen{made.model, {}, {}, {}};
    isthmus_fit_options options{};
    options.struct_size = sizeof(options);
    options.validation = &validation;
    options.on_epoch_end = &on_epoch_end;
    options.user = &seen;
    std::int32_t end = -1;
    CHECK(isthmus_fit(made.model, &rows, &options, &end) == ISTHMUS_OK);
    CHECK(end == ISTHMUS_EPOCHS_DONE);
    CHECK(seen.epochs.size() == 3 && seen.epochs[2].epoch == 3 && seen.epochs[0].n_epochs == 3);
    CHECK(std::ranges::count(seen.reads, ISTHMUS_OK) == 3);
    CHECK(std::ranges::count(seen.writes, ISTHMUS_RUNTIME) == 3);
    CHECK(info_of(made.model).epochs == 3 && info_of(made.model).steps == 9);
    CHECK(info_of(made.model).loss == seen.epochs[2].loss);

    size_t count = 0;
    double values[3] = {};
    CHECK(isthmus_get_history(made.model, ISTHMUS_HISTORY_VAL_LOSS, nullptr, 0, &count) == ISTHMUS_OK && count == 3);
    CHECK(isthmus_get_history(made.model, ISTHMUS_HISTORY_VAL_LOSS, values, 2, &count) == ISTHMUS_VALUE);
    CHECK(isthmus_get_history(made.model, ISTHMUS_HISTORY_VAL_LOSS, values, 3, &count) == ISTHMUS_OK);
    CHECK(values[2] == seen.epochs[2].val_loss && values[2] > 0.0);
    CHECK(isthmus_get_history(made.model, 5, values, 3, &count) == ISTHMUS_VALUE);

    seen.stop_after = 4;
    CHECK(isthmus_fit(made.model, &rows, &options, &end) == ISTHMUS_OK);
    CHECK(end == ISTHMUS_STOPPED && info_of(made.model).epochs == 4);

    options.on_epoch_end = nullptr;
    options.should_stop = &stop_at_the_fifth_poll;
    CHECK(isthmus_fit(made.model, &rows, &options, &end) == ISTHMUS_OK);
    CHECK(end == ISTHMUS_STOPPED && seen.polls == 5);
    CHECK(seen.inside_a_step == ISTHMUS_RUNTIME);

    options.sample_weight = x.data();
    options.sample_weight_count = 95;
    CHECK(isthmus_fit(made.model, &rows, &options, &end) == ISTHMUS_VALUE);
    options.sample_weight = nullptr;
    options.validation = nullptr;
    options.validation_targets = &validation;
    CHECK(isthmus_fit(made.model, &rows, &options, &end) == ISTHMUS_VALUE);
    CHECK(last_error_has("validation_targets needs validation"));
    CHECK(isthmus_partial_fit(made.model, &rows, nullptr, 0) == ISTHMUS_OK);
    CHECK(isthmus_partial_fit(made.model, &rows, x.data(), 3) == ISTHMUS_VALUE);
}

TEST(divergence_is_a_status) {
    const std::vector<float> x = some_rows(96, 8);
    const isthmus_rows rows = table(x, 8);
    const TestModel made(8, R"({"encoder_layers": [6, 3], "optimizer": "sgd", "learning_rate": 1e30})");
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_DIVERGENCE);
    CHECK(isthmus_score(made.model, &rows, nullptr, 0, nullptr) == ISTHMUS_VALUE);
    double score = 0.0;
    CHECK(isthmus_score(made.model, &rows, nullptr, 0, &score) == ISTHMUS_OK);
}

TEST(rows_of_every_type_and_layout) {
    const TestModel made(4, R"({"encoder_layers": [3], "random_state": 2})");
    const std::vector<float> expected_of{1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<float> expected(6);
    isthmus_rows rows = table(expected_of, 4);
    CHECK(isthmus_encode(made.model, &rows, expected.data(), expected.size()) == ISTHMUS_OK);
    std::vector<float> code(6);
    const auto same = [&](const isthmus_rows& given) {
        std::ranges::fill(code, 0.0F);
        return isthmus_encode(made.model, &given, code.data(), code.size()) == ISTHMUS_OK && code == expected;
    };
    const auto of_type = [&]<class T>(T, isthmus_type type) {
        const std::vector<T> values(expected_of.begin(), expected_of.end());
        isthmus_rows given{};
        given.data = values.data();
        given.rows = 2;
        given.cols = 4;
        given.type = type;
        return same(given);
    };
    CHECK(of_type(double{}, ISTHMUS_FLOAT64) && of_type(std::int8_t{}, ISTHMUS_INT8));
    CHECK(of_type(std::int16_t{}, ISTHMUS_INT16) && of_type(std::int32_t{}, ISTHMUS_INT32));
    CHECK(of_type(std::int64_t{}, ISTHMUS_INT64) && of_type(std::uint8_t{}, ISTHMUS_UINT8));
    CHECK(of_type(std::uint16_t{}, ISTHMUS_UINT16) && of_type(std::uint32_t{}, ISTHMUS_UINT32));
    CHECK(of_type(std::uint64_t{}, ISTHMUS_UINT64));

    const std::vector<float> columns{1, 5, 2, 6, 3, 7, 4, 8};  // column after column
    isthmus_rows transposed = table(columns, 4);
    transposed.rows = 2;
    transposed.row_bytes = sizeof(float);
    transposed.col_bytes = 2 * sizeof(float);
    CHECK(same(transposed));
    isthmus_rows upside_down = table(expected_of, 4);
    upside_down.data = expected_of.data() + 4;
    upside_down.row_bytes = -4 * static_cast<std::int64_t>(sizeof(float));
    CHECK(isthmus_encode(made.model, &upside_down, code.data(), code.size()) == ISTHMUS_OK);
    CHECK(std::equal(code.begin(), code.begin() + 3, expected.begin() + 3));

    const auto refused = [&](auto change, const char* part) {
        isthmus_rows wrong = table(expected_of, 4);
        change(wrong);
        return isthmus_encode(made.model, &wrong, code.data(), code.size()) == ISTHMUS_VALUE && last_error_has(part);
    };
    constexpr std::int64_t kHuge = std::int64_t{1} << 62;
    CHECK(refused([](isthmus_rows& r) { r.type = 10; }, "X.type must be an isthmus_type; got 10"));
    CHECK(refused([](isthmus_rows& r) { r.type = -1; }, "X.type"));
    CHECK(refused([](isthmus_rows& r) { r.data = nullptr; }, "X must not be NULL"));
    CHECK(refused([](isthmus_rows& r) { r.rows = kHuge; }, "X is larger than any memory"));
    CHECK(refused([](isthmus_rows& r) { r.cols = kHuge; }, "X is larger than any memory"));
    CHECK(refused([](isthmus_rows& r) { r.rows = -1; }, "negative"));
    CHECK(refused([](isthmus_rows& r) { r.cols = 3; }, "X has 3 features, but this model was fitted with 4") ||
          last_error_has("3"));
    CHECK(isthmus_encode(made.model, &rows, code.data(), 5) == ISTHMUS_VALUE);
    CHECK(last_error_has("has room for 5 numbers; 6 are needed"));
    rows.rows = 0;
    CHECK(isthmus_encode(made.model, &rows, nullptr, 0) == ISTHMUS_VALUE);
}

TEST(errors_scores_and_the_detector) {
    const std::vector<float> x = some_rows(60, 6);
    const isthmus_rows rows = table(x, 6);
    std::vector<double> errors(60), scores(60), decisions(60), p(60);
    std::vector<float> per_feature(360);
    {
        const TestModel made(6, R"({"encoder_layers": [3], "random_state": 2, "epochs": 2, "scaling": "standard"})");
        CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
        CHECK(isthmus_errors(made.model, &rows, ISTHMUS_SCALED, errors.data(), 60, per_feature.data(), 360) ==
              ISTHMUS_OK);
        double sum = 0.0;
        for (int c = 0; c < 6; ++c) sum += static_cast<double>(per_feature[static_cast<std::size_t>(c)]);
        CHECK(std::abs(sum / 6 - errors[0]) < 1e-6);
        CHECK(isthmus_score_samples(made.model, &rows, scores.data(), 60, nullptr, 0) == ISTHMUS_OK);
        CHECK(scores[7] == -errors[7]);
        std::vector<double> in_units(60);
        CHECK(isthmus_errors(made.model, &rows, ISTHMUS_INPUT, in_units.data(), 60, nullptr, 0) == ISTHMUS_OK);
        CHECK(in_units != errors);
        CHECK(isthmus_errors(made.model, &rows, 2, in_units.data(), 60, nullptr, 0) == ISTHMUS_VALUE);
        CHECK(isthmus_decision(made.model, &rows, decisions.data(), 60) == ISTHMUS_RUNTIME);
        const std::vector<float> weights(60, 2.0F);
        double score = 0.0;
        double weighted = 0.0;
        CHECK(isthmus_score(made.model, &rows, nullptr, 0, &score) == ISTHMUS_OK);
        CHECK(isthmus_score(made.model, &rows, weights.data(), 60, &weighted) == ISTHMUS_OK);
        CHECK(score < 0.0 && std::abs(score - weighted) < 1e-12);
    }
    const TestModel made(6, R"({"kind": "anomaly_detector", "random_state": 2, "calibration_fraction": 0.2})");
    CHECK(isthmus_decision(made.model, &rows, decisions.data(), 60) == ISTHMUS_RUNTIME);
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    CHECK(isthmus_score_samples(made.model, &rows, scores.data(), 60, per_feature.data(), 360) == ISTHMUS_OK);
    CHECK(isthmus_decision(made.model, &rows, decisions.data(), 60) == ISTHMUS_OK);
    CHECK(isthmus_p_values(made.model, &rows, p.data(), 60) == ISTHMUS_OK);
    const double offset = info_of(made.model).offset;
    for (std::size_t i = 0; i < 60; ++i) {
        CHECK(decisions[i] == scores[i] - offset);
        CHECK(p[i] > 0.0 && p[i] <= 1.0);
    }
}

TEST(files_and_bytes) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() / "isthmus_test_c_interface";
    std::filesystem::create_directories(folder);
    const std::string path = folder / "model.safetensors";
    const std::vector<float> x = some_rows(60, 8);
    const isthmus_rows rows = table(x, 8);
    const TestModel made(8, kParameters);
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    CHECK(isthmus_save(made.model, path.c_str(), 1) == ISTHMUS_OK);
    const std::string bytes = bytes_of(made.model, 1);
    CHECK(bytes != bytes_of(made.model, 0));

    isthmus_placement placement{};
    placement.struct_size = sizeof(placement);
    placement.device = "cpu";
    isthmus_model* loaded = nullptr;
    CHECK(isthmus_load(path.c_str(), &placement, &loaded) == ISTHMUS_OK);
    CHECK(bytes_of(loaded, 1) == bytes);
    // Training goes on as if it had not stopped.
    CHECK(isthmus_partial_fit(loaded, &rows, nullptr, 0) == ISTHMUS_OK);
    CHECK(isthmus_partial_fit(made.model, &rows, nullptr, 0) == ISTHMUS_OK);
    double a = 0.0;
    double b = 1.0;
    CHECK(isthmus_score(loaded, &rows, nullptr, 0, &a) == ISTHMUS_OK);
    CHECK(isthmus_score(made.model, &rows, nullptr, 0, &b) == ISTHMUS_OK);
    CHECK(a == b);
    isthmus_destroy(loaded);

    CHECK(isthmus_from_bytes(bytes.data(), bytes.size(), &placement, &loaded) == ISTHMUS_OK);
    isthmus_destroy(loaded);
    loaded = nullptr;
    std::string changed = bytes;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    CHECK(isthmus_from_bytes(changed.data(), changed.size(), &placement, &loaded) == ISTHMUS_MODEL_FORMAT);
    CHECK(isthmus_from_bytes(bytes.data(), 3, &placement, &loaded) == ISTHMUS_MODEL_FORMAT);
    CHECK(isthmus_from_bytes(nullptr, 3, &placement, &loaded) == ISTHMUS_VALUE);
    CHECK(loaded == nullptr);
    CHECK(isthmus_load((folder / "none").c_str(), &placement, &loaded) == ISTHMUS_IO);
    CHECK(isthmus_last_errno() == ENOENT && last_error_has("none"));
    CHECK(isthmus_load(nullptr, &placement, &loaded) == ISTHMUS_VALUE);
    CHECK(isthmus_last_errno() == 0);
    CHECK(isthmus_save(made.model, nullptr, 0) == ISTHMUS_VALUE);
    CHECK(isthmus_save(made.model, (folder / "no" / "folder").c_str(), 0) == ISTHMUS_IO);

    // A path that does not fit into the sentence is cut between two characters.
    std::string long_path = "/x";
    for (int i = 0; i < 3000; ++i) long_path += "\xc3\xa9";
    CHECK(isthmus_load(long_path.c_str(), &placement, &loaded) == ISTHMUS_IO);
    const std::string cut = isthmus_last_error();
    CHECK(cut.size() <= 2047 && cut.size() > 2000);
    CHECK(static_cast<unsigned char>(cut.back()) < 0x80 || static_cast<unsigned char>(cut.back()) == 0xa9);
    std::filesystem::remove_all(folder);
}

TEST(a_fit_that_is_stopped_is_resumed_from_its_checkpoint) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() / "isthmus_test_c_checkpoints";
    std::filesystem::remove_all(folder);
    const std::vector<float> x = some_rows(96, 8);
    const isthmus_rows rows = table(x, 8);
    const TestModel whole(8, kParameters);
    CHECK(isthmus_fit(whole.model, &rows, nullptr, nullptr) == ISTHMUS_OK);

    const std::string path = folder;
    isthmus_fit_options options{};
    options.struct_size = sizeof(options);
    options.checkpoint = path.c_str();
    std::int32_t end = -1;
    {
        const TestModel stopped(8, kParameters);
        Seen seen{stopped.model, {}, {}, {}};
        options.should_stop = &stop_at_the_fifth_poll;
        options.user = &seen;
        CHECK(isthmus_fit(stopped.model, &rows, &options, &end) == ISTHMUS_OK && end == ISTHMUS_STOPPED);
    }
    options.should_stop = nullptr;
    options.resume = 1;
    isthmus_model* resumed = nullptr;
    CHECK(isthmus_load_checkpoint(path.c_str(), nullptr, &resumed) == ISTHMUS_OK);
    CHECK(isthmus_fit(resumed, &rows, &options, &end) == ISTHMUS_OK && end == ISTHMUS_EPOCHS_DONE);
    double a = 0.0;
    double b = 1.0;
    CHECK(isthmus_score(resumed, &rows, nullptr, 0, &a) == ISTHMUS_OK);
    CHECK(isthmus_score(whole.model, &rows, nullptr, 0, &b) == ISTHMUS_OK);
    CHECK(a == b && info_of(resumed).steps == info_of(whole.model).steps);
    isthmus_destroy(resumed);
    CHECK(isthmus_load_checkpoint((folder / "none").c_str(), nullptr, &resumed) == ISTHMUS_IO);
    CHECK(isthmus_load_checkpoint(nullptr, nullptr, &resumed) == ISTHMUS_VALUE);
    std::filesystem::remove_all(folder);

    options = {};
    options.struct_size = sizeof(options);
    options.max_seconds = -1.0;
    CHECK(isthmus_fit(whole.model, &rows, &options, &end) == ISTHMUS_VALUE);
    options.max_seconds = 1e-9;
    CHECK(isthmus_fit(whole.model, &rows, &options, &end) == ISTHMUS_OK && end == ISTHMUS_OUT_OF_TIME);
    options.max_seconds = 0.0;
    options.max_memory = 1000;
    CHECK(isthmus_fit(whole.model, &rows, &options, &end) == ISTHMUS_MEMORY);
    options.max_memory = 0;
    options.checkpoint_every = -1;
    CHECK(isthmus_fit(whole.model, &rows, &options, &end) == ISTHMUS_VALUE);
}

TEST(errors_are_of_the_thread_that_made_them) {
    char* text = nullptr;
    CHECK(isthmus_check_parameters("[]", &text) != ISTHMUS_OK);
    const std::string mine = isthmus_last_error();
    std::thread([&] {
        CHECK(std::string(isthmus_last_error()).empty());
        CHECK(isthmus_check_parameters(R"({"epochs": 0})", &text) == ISTHMUS_VALUE);
        CHECK(isthmus_last_error() != mine);
    }).join();
    CHECK(isthmus_last_error() == mine);
}

TEST(null_is_refused_everywhere) {
    const TestModel made(8, kParameters);
    const std::vector<float> x = some_rows(2, 8);
    const isthmus_rows rows = table(x, 8);
    float out[16] = {};
    double numbers[2] = {};
    isthmus_model* model = nullptr;
    char* text = nullptr;
    void* bytes = nullptr;
    size_t size = 0;
    CHECK(isthmus_create(8, nullptr, nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_load("x", nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_from_bytes("x", 1, nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_get_parameters(nullptr, &text) == ISTHMUS_VALUE);
    CHECK(isthmus_get_parameters(made.model, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_configure(nullptr, "{}") == ISTHMUS_VALUE);
    CHECK(isthmus_get_info(nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_get_info(made.model, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_get_device(nullptr, &text) == ISTHMUS_VALUE);
    CHECK(isthmus_get_device(made.model, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_find_device("cpu", nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_get_history(made.model, ISTHMUS_HISTORY_LOSS, nullptr, 0, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_save(nullptr, "x", 0) == ISTHMUS_VALUE);
    CHECK(isthmus_to_bytes(made.model, 0, nullptr, &size) == ISTHMUS_VALUE);
    CHECK(isthmus_to_bytes(made.model, 0, &bytes, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_fit(nullptr, &rows, nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_fit(made.model, nullptr, nullptr, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_partial_fit(made.model, nullptr, nullptr, 0) == ISTHMUS_VALUE);
    CHECK(isthmus_encode(nullptr, &rows, out, 6) == ISTHMUS_VALUE);
    CHECK(isthmus_encode(made.model, nullptr, out, 6) == ISTHMUS_VALUE);
    CHECK(isthmus_encode(made.model, &rows, nullptr, 6) == ISTHMUS_VALUE);
    CHECK(isthmus_reconstruct(made.model, &rows, nullptr, 16) == ISTHMUS_VALUE);
    CHECK(isthmus_decode(made.model, nullptr, out, 16) == ISTHMUS_VALUE);
    CHECK(isthmus_errors(made.model, &rows, ISTHMUS_SCALED, nullptr, 2, nullptr, 0) == ISTHMUS_VALUE);
    CHECK(isthmus_errors(made.model, &rows, ISTHMUS_SCALED, numbers, 2, out, 15) == ISTHMUS_VALUE);
    CHECK(isthmus_score_samples(made.model, nullptr, numbers, 2, nullptr, 0) == ISTHMUS_VALUE);
    CHECK(isthmus_decision(made.model, nullptr, numbers, 2) == ISTHMUS_VALUE);
    CHECK(isthmus_p_values(made.model, nullptr, numbers, 2) == ISTHMUS_VALUE);
    isthmus_destroy(nullptr);
    isthmus_free(nullptr);
    CHECK(isthmus_create(0, nullptr, nullptr, &model) == ISTHMUS_VALUE);
    CHECK(isthmus_create(std::int64_t{1} << 62, nullptr, nullptr, &model) != ISTHMUS_OK);
    CHECK(model == nullptr);
}

// ISTHMUS_TEST_DEVICE names it; the library opens it as the Python module does.
TEST(a_device_that_is_asked_for) {
    const char* const wanted = std::getenv("ISTHMUS_TEST_DEVICE");
    const std::string device = wanted != nullptr ? wanted : "cpu";
    isthmus_placement placement{};
    placement.struct_size = sizeof(placement);
    placement.device = device.c_str();
    isthmus_model* model = nullptr;
    CHECK(isthmus_create(8, kParameters, &placement, &model) == ISTHMUS_OK);
    char* name = nullptr;
    CHECK(isthmus_get_device(model, &name) == ISTHMUS_OK);
    CHECK(taken(name) == (device == "cuda" ? "cuda:0" : device));
    const std::vector<float> x = some_rows(96, 8);
    const isthmus_rows rows = table(x, 8);
    CHECK(isthmus_fit(model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    CHECK(info_of(model).epochs == 3);
    std::vector<float> all(96 * 8);
    std::vector<float> some(3 * 8);
    CHECK(isthmus_reconstruct(model, &rows, all.data(), all.size()) == ISTHMUS_OK);
    isthmus_session* session = nullptr;
    CHECK(isthmus_session_create(model, 3, 1, &session) == ISTHMUS_OK);
    CHECK(isthmus_session_reconstruct(session, x.data(), 3, some.data(), some.size()) == ISTHMUS_OK);
    CHECK(std::equal(some.begin(), some.end(), all.begin()));
    isthmus_session_destroy(session);
    isthmus_destroy(model);
}

TEST(eight_threads_on_one_model) {
    const std::vector<float> x = some_rows(64, 8);
    const isthmus_rows rows = table(x, 8);
    const TestModel made(8, kParameters);
    std::vector<float> expected(64 * 8);
    CHECK(isthmus_reconstruct(made.model, &rows, expected.data(), expected.size()) == ISTHMUS_OK);
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            std::vector<float> y(expected.size());
            for (int i = 0; i < 20; ++i) {
                right += isthmus_reconstruct(made.model, &rows, y.data(), y.size()) == ISTHMUS_OK && y == expected;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 160);
}

}  // namespace
