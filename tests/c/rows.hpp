// SPDX-License-Identifier: Apache-2.0
// Models and rows for the tests of the C interface, and what they say.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"
#include "isthmus/isthmus.h"

inline std::vector<float> some_rows(std::int64_t rows, std::int64_t cols, int seed = 0) {
    std::vector<float> values(static_cast<std::size_t>(rows * cols));
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = 0.5F + 0.5F * static_cast<float>(std::sin(0.37 * static_cast<double>(i) + seed));
    }
    return values;
}

inline isthmus_rows table(const std::vector<float>& values, std::int64_t cols) {
    isthmus_rows rows{};
    rows.data = values.data();
    rows.rows = static_cast<std::int64_t>(values.size()) / cols;
    rows.cols = cols;
    return rows;
}

// Destroyed at the end of the test.
struct TestModel {
    isthmus_model* model = nullptr;

    TestModel(std::int64_t n_features, const char* parameters) {
        isthmus_placement placement{};
        placement.struct_size = sizeof(placement);
        placement.device = "cpu";
        status = isthmus_create(n_features, parameters, &placement, &model);
    }
    ~TestModel() { isthmus_destroy(model); }
    TestModel(const TestModel&) = delete;
    TestModel& operator=(const TestModel&) = delete;

    isthmus_status status;
};

inline bool last_error_has(const char* part) {
    const bool has = std::string(isthmus_last_error()).find(part) != std::string::npos;
    if (!has) std::printf("isthmus_last_error(): %s\n", isthmus_last_error());
    return has;
}

inline isthmus_info info_of(const isthmus_model* model) {
    isthmus_info info{};
    info.struct_size = sizeof(info);
    CHECK(isthmus_get_info(model, &info) == ISTHMUS_OK);
    return info;
}

inline std::string bytes_of(const isthmus_model* model, int training_state) {
    void* bytes = nullptr;
    size_t size = 0;
    CHECK(isthmus_to_bytes(model, training_state, &bytes, &size) == ISTHMUS_OK);
    std::string copy(static_cast<const char*>(bytes), size);
    isthmus_free(bytes);
    return copy;
}
