// SPDX-License-Identifier: Apache-2.0
// The order in which blocks, warps and lanes run: ISTHMUS_EMULATOR_ORDER is "forward" (also when it is not set),
// "reverse", or a number, the seed of random priorities. The ready thread of the highest priority always runs, until it
// must wait: its warp gets as far ahead of the others as barriers permit, which is what shows a missing one.
#pragma once

#include <cstdint>
#include <span>

namespace cuda_emulator {

// splitmix64: a number that depends on all bits of both.
std::uint64_t mixed(std::uint64_t seed, std::uint64_t number);

class Order {
public:
    static Order from_environment();

    // 0 .. size - 1, those that run first coming first. `key` tells one permutation from another.
    void permutation(std::span<unsigned> numbers, std::uint64_t key) const;
    // The block that runs as number `position` of `count`: for seeds, blocks start at a random one and go on with a
    // random stride, so that a grid of any size needs no table.
    std::uint64_t block(std::uint64_t position, std::uint64_t count) const;
    // Whether what the device does by itself, number `key` of its kind, is done as late as can be: never in the forward
    // order, always in reverse, by seeds now and then.
    bool late(std::uint64_t key) const;
    // Which of `count` late ones comes first: the last in reverse, one at random by seeds.
    std::uint64_t choice(std::uint64_t key, std::uint64_t count) const;

private:
    enum class Kind : std::uint8_t { forward, reverse, random };
    Kind kind_ = Kind::forward;
    std::uint64_t seed_ = 0;
};

}  // namespace cuda_emulator
