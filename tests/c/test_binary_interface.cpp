// SPDX-License-Identifier: Apache-2.0
// The binary interface of ABI 1, which programs that were built before rely on: where the members lie, and what happens
// to structs of an earlier or a later header.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "check.hpp"
#include "rows.hpp"

namespace {

constexpr const char* kParameters = R"({"encoder_layers": [6, 3], "random_state": 0})";

// What may be added to a struct comes behind these. Where one of these fails, ISTHMUS_ABI_VERSION is to be raised, or,
// where a struct grew at its end, its first size is to stay what it was for known_part.
static_assert(ISTHMUS_ABI_VERSION == 1);
static_assert(sizeof(isthmus_rows) == 48 && offsetof(isthmus_rows, row_bytes) == 24 &&
              offsetof(isthmus_rows, col_bytes) == 32 && offsetof(isthmus_rows, type) == 40);
static_assert(sizeof(isthmus_placement) == 24 && offsetof(isthmus_placement, device) == 8 &&
              offsetof(isthmus_placement, n_threads) == 16);
static_assert(sizeof(isthmus_info) == 64 && offsetof(isthmus_info, n_features) == 8 &&
              offsetof(isthmus_info, steps) == 32 && offsetof(isthmus_info, offset) == 48 &&
              offsetof(isthmus_info, n_threads) == 56);
static_assert(sizeof(isthmus_shape) == 16 && offsetof(isthmus_shape, cols) == 8);
static_assert(sizeof(isthmus_epoch) == 56 && offsetof(isthmus_epoch, n_epochs) == 16 &&
              offsetof(isthmus_epoch, val_loss) == 32 && offsetof(isthmus_epoch, seconds) == 48);
static_assert(sizeof(isthmus_fit_options) == 104 && offsetof(isthmus_fit_options, sample_weight) == 8 &&
              offsetof(isthmus_fit_options, validation_targets) == 32 &&
              offsetof(isthmus_fit_options, should_stop) == 48 && offsetof(isthmus_fit_options, max_seconds) == 64 &&
              offsetof(isthmus_fit_options, checkpoint) == 80 && offsetof(isthmus_fit_options, resume) == 96);
static_assert(ISTHMUS_INTERNAL == 8 && ISTHMUS_UINT64 == 9 && ISTHMUS_OUT_OF_TIME == 3 && ISTHMUS_INPUT == 1 &&
              ISTHMUS_HISTORY_PENALTY == 4);

TEST(the_version_is_that_of_the_header) {
    CHECK(std::strcmp(isthmus_version(), ISTHMUS_VERSION) == 0);
    CHECK(isthmus_abi_version() == ISTHMUS_ABI_VERSION);
    const std::string numbers = std::to_string(ISTHMUS_VERSION_MAJOR) + "." + std::to_string(ISTHMUS_VERSION_MINOR) +
                                "." + std::to_string(ISTHMUS_VERSION_PATCH);
    CHECK(numbers == ISTHMUS_VERSION);
}

TEST(structs_of_other_versions) {
    struct {
        isthmus_placement known{};
        std::int64_t later = 0;
    } placement;
    placement.known.struct_size = sizeof(placement);
    placement.known.device = "cpu";
    isthmus_model* model = nullptr;
    CHECK(isthmus_create(4, nullptr, &placement.known, &model) == ISTHMUS_OK);  // what it does not know is left out
    isthmus_destroy(model);
    placement.later = 1;
    CHECK(isthmus_create(4, nullptr, &placement.known, &model) == ISTHMUS_VALUE);
    CHECK(last_error_has("does not have"));
    placement.known.struct_size = 0;
    CHECK(isthmus_create(4, nullptr, &placement.known, &model) == ISTHMUS_VALUE);
    CHECK(last_error_has("struct_size"));
    placement.known.struct_size = sizeof(isthmus_placement);
    placement.known.n_threads = -1;
    CHECK(isthmus_create(4, nullptr, &placement.known, &model) == ISTHMUS_VALUE);

    struct {
        isthmus_info known{};
        std::int64_t later = 77;
    } info;
    const TestModel made(8, kParameters);
    CHECK(isthmus_get_info(made.model, &info.known) == ISTHMUS_VALUE);
    info.known.struct_size = sizeof(info);
    CHECK(isthmus_get_info(made.model, &info.known) == ISTHMUS_OK);
    CHECK(info.known.n_features == 8 && info.later == 77);
}

}  // namespace
