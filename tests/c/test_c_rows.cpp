// SPDX-License-Identifier: Apache-2.0
// Missing values and drawn codes through the C interface.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "rows.hpp"

namespace {

constexpr const char* kMasked =
    R"({"encoder_layers": [5, 2], "missing": "mask", "epochs": 4, "random_state": 3, "scaling": "standard"})";
constexpr const char* kVariational =
    R"({"kind": "variational_autoencoder", "encoder_layers": [5, 2], "epochs": 2, "random_state": 3})";

std::vector<float> with_holes(std::vector<float> x) {
    for (std::size_t i = 0; i < x.size(); i += 7) x[i] = std::nanf("");
    return x;
}

TEST(missing_values_are_filled_in) {
    const std::vector<float> x = with_holes(some_rows(90, 6));
    const isthmus_rows rows = table(x, 6);
    const TestModel made(6, kMasked);
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    std::vector<float> reconstruction(x.size());
    std::vector<float> filled(x.size());
    CHECK(isthmus_reconstruct(made.model, &rows, reconstruction.data(), x.size()) == ISTHMUS_OK);
    CHECK(isthmus_impute(made.model, &rows, filled.data(), x.size()) == ISTHMUS_OK);
    std::size_t holes = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        holes += std::isnan(x[i]) ? 1 : 0;
        CHECK(filled[i] == (std::isnan(x[i]) ? reconstruction[i] : x[i]));
    }
    CHECK(holes == (x.size() + 6) / 7);

    // Rows of another type and order.
    std::vector<double> columns(x.size());
    for (std::size_t r = 0; r < 90; ++r) {
        for (std::size_t c = 0; c < 6; ++c) columns[90 * c + r] = static_cast<double>(x[6 * r + c]);
    }
    isthmus_rows turned{};
    turned.data = columns.data();
    turned.rows = 90;
    turned.cols = 6;
    turned.row_bytes = sizeof(double);
    turned.col_bytes = 90 * sizeof(double);
    turned.type = ISTHMUS_FLOAT64;
    std::vector<float> again(x.size());
    CHECK(isthmus_impute(made.model, &turned, again.data(), again.size()) == ISTHMUS_OK);
    CHECK(again == filled);

    std::vector<double> errors(90);
    CHECK(isthmus_errors(made.model, &rows, ISTHMUS_SCALED, errors.data(), 90, nullptr, 0) == ISTHMUS_OK);
    CHECK(std::ranges::none_of(errors, [](double error) { return std::isnan(error); }));
    const std::vector<float> nothing(6, std::nanf(""));
    const isthmus_rows empty_row = table(nothing, 6);
    CHECK(isthmus_errors(made.model, &empty_row, ISTHMUS_SCALED, errors.data(), 1, nullptr, 0) == ISTHMUS_OK);
    CHECK(std::isnan(errors[0]));
}

TEST(what_impute_refuses) {
    std::vector<float> x = with_holes(some_rows(20, 6));
    const isthmus_rows rows = table(x, 6);
    std::vector<float> filled(x.size());
    const TestModel plain(6, R"({"encoder_layers": [2]})");
    CHECK(isthmus_impute(plain.model, &rows, filled.data(), filled.size()) == ISTHMUS_VALUE);
    CHECK(last_error_has("impute needs missing=\"mask\"; this model has missing=\"error\""));
    CHECK(isthmus_encode(plain.model, &rows, filled.data(), 40) == ISTHMUS_VALUE);
    CHECK(last_error_has("X[0, 0] is nan"));

    const TestModel made(6, kMasked);
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    CHECK(isthmus_impute(made.model, &rows, filled.data(), filled.size() - 1) == ISTHMUS_VALUE);
    CHECK(isthmus_impute(made.model, nullptr, filled.data(), filled.size()) == ISTHMUS_VALUE);
    CHECK(isthmus_impute(made.model, &rows, nullptr, filled.size()) == ISTHMUS_VALUE);
    x[8] = std::numeric_limits<float>::infinity();
    CHECK(isthmus_impute(made.model, &rows, filled.data(), filled.size()) == ISTHMUS_VALUE);
    CHECK(last_error_has("X[1, 2] is inf"));
    // Scaled, it is a float32, but the answer has none for it.
    std::vector<double> large(12, 1.0);
    for (std::size_t r = 0; r < 2; ++r) large[6 * r] = r == 0 ? -1e100 : 1e100;
    isthmus_rows wide{};
    wide.data = large.data();
    wide.rows = 2;
    wide.cols = 6;
    wide.type = ISTHMUS_FLOAT64;
    const TestModel scaled(6, kMasked);
    CHECK(isthmus_fit(scaled.model, &wide, nullptr, nullptr) == ISTHMUS_OK);
    CHECK(isthmus_impute(scaled.model, &wide, filled.data(), 12) == ISTHMUS_VALUE);
    CHECK(last_error_has("X[0, 0] is -1e+100"));
}

TEST(codes_are_drawn_row_by_row) {
    const std::vector<float> x = some_rows(50, 6);
    const isthmus_rows rows = table(x, 6);
    const TestModel made(6, kVariational);
    CHECK(isthmus_fit(made.model, &rows, nullptr, nullptr) == ISTHMUS_OK);
    std::vector<float> means(100);
    std::vector<float> drawn(100);
    std::vector<float> other(100);
    CHECK(isthmus_encode(made.model, &rows, means.data(), 100) == ISTHMUS_OK);
    CHECK(isthmus_draw_codes(made.model, &rows, 7, 0, drawn.data(), 100) == ISTHMUS_OK);
    CHECK(isthmus_draw_codes(made.model, &rows, 8, 0, other.data(), 100) == ISTHMUS_OK);
    CHECK(drawn != means && drawn != other);
    // In parts, the same.
    isthmus_rows part = rows;
    part.data = x.data() + 6 * 30;
    part.rows = 20;
    CHECK(isthmus_draw_codes(made.model, &part, 7, 30, other.data(), 40) == ISTHMUS_OK);
    CHECK(std::equal(other.begin(), other.begin() + 40, drawn.begin() + 60));

    std::vector<float> made_up(60);
    std::vector<float> again(60);
    CHECK(isthmus_sample(made.model, 10, 7, made_up.data(), 60) == ISTHMUS_OK);
    CHECK(isthmus_sample(made.model, 10, 7, again.data(), 60) == ISTHMUS_OK);
    CHECK(made_up == again);
    CHECK(isthmus_sample(made.model, 9, 7, again.data(), 54) == ISTHMUS_OK);
    CHECK(std::equal(again.begin(), again.begin() + 54, made_up.begin()));
    CHECK(isthmus_sample(made.model, 10, 8, again.data(), 60) == ISTHMUS_OK);
    CHECK(made_up != again);
}

TEST(what_a_draw_refuses) {
    const std::vector<float> x = some_rows(5, 6);
    const isthmus_rows rows = table(x, 6);
    std::vector<float> out(30);
    const TestModel plain(6, R"({"encoder_layers": [2]})");
    CHECK(isthmus_draw_codes(plain.model, &rows, 7, 0, out.data(), 10) == ISTHMUS_RUNTIME);
    CHECK(last_error_has("variational autoencoder"));
    CHECK(isthmus_sample(plain.model, 5, 7, out.data(), 30) == ISTHMUS_RUNTIME);

    const TestModel made(6, kVariational);
    CHECK(isthmus_draw_codes(made.model, &rows, 7, -1, out.data(), 10) == ISTHMUS_VALUE);
    CHECK(isthmus_draw_codes(made.model, &rows, 7, 0, out.data(), 9) == ISTHMUS_VALUE);
    CHECK(isthmus_draw_codes(made.model, &rows, 7, 0, nullptr, 10) == ISTHMUS_VALUE);
    CHECK(isthmus_draw_codes(made.model, nullptr, 7, 0, out.data(), 10) == ISTHMUS_VALUE);
    CHECK(isthmus_sample(made.model, 0, 7, out.data(), 0) == ISTHMUS_VALUE);
    CHECK(isthmus_sample(made.model, std::int64_t{1} << 62, 7, out.data(), 30) == ISTHMUS_VALUE);
    CHECK(isthmus_sample(made.model, 5, 7, out.data(), 29) == ISTHMUS_VALUE);
    CHECK(isthmus_sample(made.model, 5, 7, nullptr, 30) == ISTHMUS_VALUE);
    CHECK(isthmus_sample(nullptr, 5, 7, out.data(), 30) == ISTHMUS_VALUE);
}

}  // namespace
