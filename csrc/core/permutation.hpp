// SPDX-License-Identifier: Apache-2.0
// The order of the rows: made once, here, and handed to every device as row numbers. Pure functions of the seed, the
// epoch and the number of rows, so that an epoch can be repeated or finished later.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace isthmus {

// Shuffles in place (Fisher-Yates). Each draw scales 64 random bits down by the high half of a product, without
// rejection: its bias, n / 2^64, is below what any number of epochs could show.
void shuffle(std::span<std::int64_t> rows, std::uint64_t seed, std::uint32_t epoch);

// The numbers 0 to n - 1, shuffled.
std::vector<std::int64_t> permutation(std::uint64_t seed, std::uint32_t epoch, std::int64_t n);

// Row numbers of both parts, ascending.
struct Split {
    std::vector<std::int64_t> training;
    std::vector<std::int64_t> validation;
};

// Holds back round(fraction * n) of n rows, at least 1 and at most n - 1. Error(value) when n < 2; `name` is what the
// fraction is called.
Split split_rows(std::uint64_t seed, double fraction, std::int64_t n, const std::string& name = "validation_fraction");

}  // namespace isthmus
