// SPDX-License-Identifier: Apache-2.0
// Weights and feature names through the C interface.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "rows.hpp"

namespace {

std::vector<isthmus_shape> shapes_of(const isthmus_model* model) {
    size_t count = 0;
    CHECK(isthmus_get_weight_shapes(model, nullptr, 0, &count) == ISTHMUS_OK);
    std::vector<isthmus_shape> shapes(count);
    CHECK(isthmus_get_weight_shapes(model, shapes.data(), shapes.size(), &count) == ISTHMUS_OK);
    return shapes;
}

bool are(const std::vector<isthmus_shape>& shapes, const std::vector<isthmus_shape>& expected) {
    return std::ranges::equal(shapes, expected, [](const isthmus_shape& a, const isthmus_shape& b) {
        return a.rows == b.rows && a.cols == b.cols;
    });
}

TEST(shapes_are_of_what_is_stored) {
    const TestModel plain(5, R"({"encoder_layers": [3, 2]})");
    CHECK(are(shapes_of(plain.model), {{3, 5}, {3, 1}, {2, 3}, {2, 1}, {3, 2}, {3, 1}, {5, 3}, {5, 1}}));
    const TestModel tied(5, R"({"encoder_layers": [3, 2], "tied_weights": true})");
    CHECK(are(shapes_of(tied.model), {{3, 5}, {3, 1}, {2, 3}, {2, 1}, {3, 1}, {5, 1}}));
    const TestModel variational(5, R"({"kind": "variational_autoencoder", "encoder_layers": [2]})");
    CHECK(are(shapes_of(variational.model), {{4, 5}, {4, 1}, {5, 2}, {5, 1}}));
    size_t count = 0;
    isthmus_shape one{};
    CHECK(isthmus_get_weight_shapes(plain.model, &one, 1, &count) == ISTHMUS_VALUE);
    CHECK(last_error_has("shapes has room for 1 numbers; 8 are needed"));
}

TEST(weights_come_and_go) {
    const TestModel made(5, R"({"encoder_layers": [2], "random_state": 1, "activation": "linear"})");
    constexpr size_t kCount = 2 * 5 + 2 + 5 * 2 + 5;
    std::vector<float> weights(kCount);
    CHECK(isthmus_get_weights(made.model, weights.data(), kCount) == ISTHMUS_OK);
    CHECK(std::count(weights.begin(), weights.end(), 0.0F) == 2 + 5);  // the biases

    for (size_t i = 0; i < kCount; ++i) weights[i] = 0.25F * static_cast<float>(i);
    CHECK(isthmus_set_weights(made.model, weights.data(), kCount) == ISTHMUS_OK);
    std::vector<float> again(kCount);
    CHECK(isthmus_get_weights(made.model, again.data(), kCount) == ISTHMUS_OK);
    CHECK(again == weights);

    // y = x w^T + b, w row after row.
    const std::vector<float> x{1, 2, 3, 4, 5};
    const isthmus_rows rows = table(x, 5);
    float code[2] = {};
    CHECK(isthmus_encode(made.model, &rows, code, 2) == ISTHMUS_OK);
    for (size_t j = 0; j < 2; ++j) {
        float expected = weights[10 + j];
        for (size_t k = 0; k < 5; ++k) expected += x[k] * weights[5 * j + k];
        CHECK(code[j] == expected);  // exact: quarters
    }
}

TEST(weights_that_are_refused_change_nothing) {
    const TestModel made(5, R"({"encoder_layers": [2], "random_state": 1})");
    std::vector<float> weights(27);
    CHECK(isthmus_get_weights(made.model, weights.data(), 27) == ISTHMUS_OK);
    std::vector<float> wrong = weights;
    wrong[13] = std::nanf("");  // decoder.0.weight[0, 1]
    CHECK(isthmus_set_weights(made.model, wrong.data(), 27) == ISTHMUS_VALUE);
    CHECK(last_error_has("decoder.0.weight[0, 1] is nan"));
    CHECK(isthmus_set_weights(made.model, wrong.data(), 26) == ISTHMUS_VALUE);
    CHECK(last_error_has("weights has 26 values; 27 are needed"));
    CHECK(isthmus_set_weights(made.model, nullptr, 27) == ISTHMUS_VALUE);
    CHECK(isthmus_set_weights(nullptr, weights.data(), 27) == ISTHMUS_VALUE);
    CHECK(isthmus_get_weights(made.model, wrong.data(), 28) == ISTHMUS_VALUE);
    CHECK(isthmus_get_weights(made.model, nullptr, 27) == ISTHMUS_VALUE);
    CHECK(isthmus_get_weight_shapes(made.model, nullptr, 0, nullptr) == ISTHMUS_VALUE);
    CHECK(isthmus_get_weights(made.model, wrong.data(), 27) == ISTHMUS_OK);
    CHECK(wrong == weights);
}

TEST(new_weights_uncalibrate_a_detector) {
    const std::vector<float> x = some_rows(60, 6);
    const isthmus_rows rows = table(x, 6);
    const TestModel made(6, R"({"kind": "anomaly_detector", "encoder_layers": [2], "epochs": 2, "random_state": 2})");
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    std::vector<float> weights(2 * 6 + 2 + 6 * 2 + 6);
    CHECK(isthmus_get_weights(made.model, weights.data(), weights.size()) == ISTHMUS_OK);
    CHECK(isthmus_set_weights(made.model, weights.data(), weights.size()) == ISTHMUS_OK);
    std::vector<double> decisions(60);
    CHECK(isthmus_decision(made.model, &rows, decisions.data(), 60) == ISTHMUS_RUNTIME);
}

TEST(feature_names_are_kept_in_the_file) {
    const TestModel made(3, R"({"encoder_layers": [2], "random_state": 1})");
    char** found = nullptr;
    size_t count = 9;
    CHECK(isthmus_get_feature_names(made.model, &found, &count) == ISTHMUS_OK);
    CHECK(found == nullptr && count == 0);

    const char* const names[] = {"height", "\xC3\xA9 \"quoted\"\n", ""};
    CHECK(isthmus_set_feature_names(made.model, names, 3) == ISTHMUS_OK);
    const std::string file = bytes_of(made.model, 0);
    isthmus_model* loaded = nullptr;
    CHECK(isthmus_from_bytes(file.data(), file.size(), nullptr, &loaded) == ISTHMUS_OK);
    CHECK(isthmus_get_feature_names(loaded, &found, &count) == ISTHMUS_OK);
    CHECK(count == 3);
    for (size_t i = 0; i < 3; ++i) CHECK(std::string(found[i]) == names[i]);
    isthmus_free(found);
    isthmus_destroy(loaded);

    const char* const broken[] = {"a", "\xC3", "b"};
    CHECK(isthmus_set_feature_names(made.model, broken, 3) == ISTHMUS_VALUE);
    CHECK(last_error_has("names[1] is not UTF-8"));
    const char* const missing[] = {"a", nullptr, "b"};
    CHECK(isthmus_set_feature_names(made.model, missing, 3) == ISTHMUS_VALUE);
    CHECK(last_error_has("names[1] must not be NULL"));
    CHECK(isthmus_set_feature_names(made.model, names, 2) == ISTHMUS_VALUE);
    CHECK(last_error_has("names must be none or one for each of 3 features; got 2"));
    CHECK(isthmus_set_feature_names(made.model, nullptr, 3) == ISTHMUS_VALUE);
    CHECK(isthmus_get_feature_names(made.model, nullptr, &count) == ISTHMUS_VALUE);
    CHECK(isthmus_get_feature_names(made.model, &found, nullptr) == ISTHMUS_VALUE);
    CHECK(bytes_of(made.model, 0) == file);
    CHECK(isthmus_set_feature_names(made.model, nullptr, 0) == ISTHMUS_OK);
    CHECK(isthmus_get_feature_names(made.model, &found, &count) == ISTHMUS_OK && count == 0);
}

}  // namespace
