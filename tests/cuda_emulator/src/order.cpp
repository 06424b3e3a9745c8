// SPDX-License-Identifier: Apache-2.0
#include "order.hpp"

#include <charconv>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <utility>

#include "cuda_emulator/launch.hpp"

namespace cuda_emulator {

std::uint64_t mixed(std::uint64_t seed, std::uint64_t number) {
    std::uint64_t z = seed * 0x9E3779B97F4A7C15U + number + 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

Order Order::from_environment() {
    Order order;
    const char* const value = std::getenv("ISTHMUS_EMULATOR_ORDER");
    const std::string_view text = value == nullptr ? "forward" : value;
    if (text == "forward") return order;
    order.kind_ = Kind::reverse;
    if (text == "reverse") return order;
    order.kind_ = Kind::random;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), order.seed_);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw Report("ISTHMUS_EMULATOR_ORDER is \"" + std::string(text) + "\", not forward, reverse or a number");
    }
    return order;
}

void Order::permutation(std::span<unsigned> numbers, std::uint64_t key) const {
    std::iota(numbers.begin(), numbers.end(), 0U);
    const std::size_t n = numbers.size();
    if (kind_ == Kind::reverse) {
        for (std::size_t i = 0; i < n; ++i) numbers[i] = static_cast<unsigned>(n - 1 - i);
    } else if (kind_ == Kind::random) {
        std::uint64_t state = mixed(seed_, key);
        for (std::size_t i = n; i > 1; --i) {
            state = mixed(state, i);
            std::swap(numbers[i - 1], numbers[state % i]);
        }
    }
}

std::uint64_t Order::block(std::uint64_t position, std::uint64_t count) const {
    if (kind_ == Kind::forward) return position;
    if (kind_ == Kind::reverse) return count - 1 - position;
    std::uint64_t stride = mixed(seed_, count) % count | 1U;
    while (std::gcd(stride, count) != 1) stride += 2;
    return (mixed(seed_, count + 1) % count + position % count * (stride % count)) % count;
}

bool Order::late(std::uint64_t key) const {
    return kind_ == Kind::reverse || (kind_ == Kind::random && (mixed(seed_, ~key) & 1U) != 0);
}

std::uint64_t Order::choice(std::uint64_t key, std::uint64_t count) const {
    return kind_ == Kind::random ? mixed(seed_ + 1, key) % count : count - 1;
}

}  // namespace cuda_emulator
