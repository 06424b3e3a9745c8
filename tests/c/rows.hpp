// SPDX-License-Identifier: Apache-2.0
// Models and rows for the tests of the C interface.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

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
