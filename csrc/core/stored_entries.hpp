// SPDX-License-Identifier: Apache-2.0
// The entries of one sparse row, columns ascending and each once, whatever the order they are stored in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/csr.hpp"
#include "core/table.hpp"

namespace isthmus {

template <class T>
class StoredEntries {
public:
    explicit StoredEntries(const Table& table) : table_(table), index_(*table.csr) {}

    // f(column, value)
    template <class F>
    void for_each(std::int64_t row, F&& f) {
        index_.wide ? run<std::int64_t>(row, f) : run<std::int32_t>(row, f);
    }

private:
    // One entry more: in its own type, in which integers go round.
    T joined(T a, T b) const {
        if constexpr (std::is_integral_v<T>) {
            if (index_.logical) return static_cast<T>(a | b);
            using U = std::make_unsigned_t<T>;
            return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
        } else {
            return a + b;
        }
    }

    template <class I>
    I at(const void* from, std::int64_t i) const {
        I value;
        std::memcpy(&value, static_cast<const char*>(from) + i * static_cast<std::int64_t>(sizeof(I)), sizeof(I));
        return value;
    }

    template <class I, class F>
    void run(std::int64_t row, F& f) {
        const auto begin = static_cast<std::int64_t>(at<I>(index_.offsets, row));
        const auto end = static_cast<std::int64_t>(at<I>(index_.offsets, row + 1));
        if (begin < 0 || end < begin || end > index_.stored) refuse();
        bool ascending = true;
        std::int64_t last = -1;
        for (std::int64_t i = begin; i < end && ascending; ++i) {
            const auto column = static_cast<std::int64_t>(at<I>(index_.columns, i));
            ascending = column > last;
            last = column;
        }
        entries_.clear();
        for (std::int64_t i = begin; i < end; ++i) {
            const auto column = static_cast<std::int64_t>(at<I>(index_.columns, i));
            if (column < 0 || column >= table_.cols) refuse();
            const T value = joined(T{0}, at<T>(table_.data, i));  // -0 becomes 0, as in a sum
            if (ascending) {
                f(column, value);
            } else {
                entries_.emplace_back(column, value);
            }
        }
        if (ascending) return;
        // Duplicates keep their order, which the sum of floats depends on.
        std::stable_sort(entries_.begin(), entries_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        for (std::size_t i = 0; i < entries_.size();) {
            const std::int64_t column = entries_[i].first;
            T sum = entries_[i].second;
            for (++i; i < entries_.size() && entries_[i].first == column; ++i) sum = joined(sum, entries_[i].second);
            f(column, sum);
        }
    }

    [[noreturn]] static void refuse() {
        throw Error(ErrorKind::runtime, "a sparse matrix was changed by another thread while it was read");
    }

    const Table& table_;
    const CsrIndex& index_;
    std::vector<std::pair<std::int64_t, T>> entries_;
};

}  // namespace isthmus
