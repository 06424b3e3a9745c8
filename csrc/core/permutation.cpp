// SPDX-License-Identifier: Apache-2.0
#include "core/permutation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "isthmus/types.hpp"
#include "math/philox.hpp"

namespace isthmus {
namespace {

// Swap i, counting down, takes the 64-bit half i % 2 of block i / 2.
void shuffle(std::span<std::int64_t> rows, std::uint64_t seed, math::Purpose purpose, std::uint32_t stream) {
    math::PhiloxBlock<std::uint32_t> block{};
    for (std::uint64_t i = rows.size(); i-- > 1;) {
        if (i % 2 == 1 || i + 1 == rows.size()) block = math::philox(math::counter(purpose, i / 2, stream), seed);
        const std::uint32_t* const words = block.word + i % 2 * 2;
        const std::uint64_t bits = static_cast<std::uint64_t>(words[1]) << 32 | words[0];
        const auto j = static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * (i + 1)) >> 64);
        std::swap(rows[i], rows[j]);
    }
}

std::vector<std::int64_t> all_rows(std::int64_t n) {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
    std::iota(rows.begin(), rows.end(), std::int64_t{0});
    return rows;
}

}  // namespace

void shuffle(std::span<std::int64_t> rows, std::uint64_t seed, std::uint32_t epoch) {
    shuffle(rows, seed, math::Purpose::permutation, epoch);
}

std::vector<std::int64_t> permutation(std::uint64_t seed, std::uint32_t epoch, std::int64_t n) {
    std::vector<std::int64_t> rows = all_rows(n);
    shuffle(rows, seed, epoch);
    return rows;
}

Split split_rows(std::uint64_t seed, double fraction, std::int64_t n, const std::string& name) {
    if (n < 2) {
        throw Error(ErrorKind::value, name + " needs at least 2 rows, one to hold back and one to train on; X has " +
                                          std::to_string(n) + " sample");
    }
    const double wanted = std::round(fraction * static_cast<double>(n));
    const std::int64_t held_back = std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted), 1, n - 1);
    std::vector<std::int64_t> rows = all_rows(n);
    shuffle(rows, seed, math::Purpose::split, 0);
    const auto middle = rows.begin() + held_back;
    std::sort(rows.begin(), middle);
    std::sort(middle, rows.end());
    return {{middle, rows.end()}, {rows.begin(), middle}};
}

}  // namespace isthmus
