// SPDX-License-Identifier: Apache-2.0
// The matrix descriptor of wgmma, as the PTX manual lays it out ("Matrix descriptor format", "Strides", "Swizzling
// modes"): bits 0-13 the start address, 16-29 the leading and 32-45 the stride byte offset, each divided by 16; 49-51
// the base offset; 62-63 the swizzle: none, 128, 64, 32 bytes. All others are 0.
//
// K-major: rows of one swizzle width, eight of them a group, groups the stride offset apart; without swizzle, eight
// rows of 16 bytes, the two halves of k the leading offset apart. MN-major: eight rows of k, each one swizzle width of
// m or n, then the next eight the stride offset further and the next width the leading offset further; without swizzle
// the two offsets change places.
#include "matrix_descriptor.hpp"

#include <cstring>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "shared_memory.hpp"

namespace cuda_emulator {

namespace {

struct Descriptor {
    unsigned start, leading, stride;  // bytes
    unsigned width;                   // of the swizzle, 16 where there is none
    unsigned mask;                    // which bits of an address from bit 7 on are mixed into those from bit 4 on
};

Descriptor decoded(std::uint64_t bits, Site where) {
    const auto field = [bits](int first) { return static_cast<unsigned>(bits >> first & 0x3fffU) << 4; };
    const auto complain = [&](const char* what) { fail("wgmma at " + described(where) + ": descriptor: " + what); };
    constexpr std::uint64_t kUsed = 0xc00e3fff3fff3fff;
    if ((bits & ~kUsed) != 0) complain("bits that have no meaning are set");
    const auto mode = static_cast<unsigned>(bits >> 62);
    const unsigned mixed_bits = mode == 0 ? 0 : 4 - mode;  // 128, 64, 32 bytes: 3, 2, 1
    const Descriptor d{field(0), field(16), field(32), 16U << mixed_bits, (1U << mixed_bits) - 1};
    if ((bits >> 49 & 7U) != 0) complain("a base offset is not emulated");
    if ((d.start >> 7 & d.mask) != 0) complain("the start is not where the swizzle's pattern repeats");
    return d;
}

float widened(std::uint16_t bits) { return __builtin_bit_cast(float, std::uint32_t{bits} << 16); }

}  // namespace

void read_matrix(std::uint64_t descriptor, bool transposed, int size,
                 std::array<std::array<float, kDepth>, 256>& values, Site where) {
    const Descriptor d = decoded(descriptor, where);
    const unsigned width = d.width / 2;  // elements
    const bool swizzle = d.mask != 0;
    const auto run_at = [&](unsigned plain) {
        const unsigned address = plain ^ ((plain >> 7 & d.mask) << 4);
        const std::byte* const run = shared_memory_of_block().at(address);
        if (!shared_memory_of_block().contains(run, 16)) {
            fail("wgmma at " + described(where) + ": a descriptor leads outside of shared arrays");
        }
        std::array<std::uint16_t, 8> elements;
        std::memcpy(elements.data(), run, sizeof elements);
        return elements;
    };
    if (!transposed) {
        for (unsigned row = 0; row < static_cast<unsigned>(size); ++row) {
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned in_group = row % 8 * d.width + half * (swizzle ? 16 : d.leading);
                const auto run = run_at(d.start + row / 8 * d.stride + in_group);
                for (unsigned i = 0; i < 8; ++i) values[row][half * 8 + i] = widened(run[i]);
            }
        }
        return;
    }
    for (unsigned k = 0; k < kDepth; ++k) {
        for (unsigned first = 0; first < static_cast<unsigned>(size); first += 8) {
            const unsigned panels = first / width * (swizzle ? d.leading : d.stride);
            const unsigned groups = k / 8 * (swizzle ? d.stride : d.leading);
            const auto run = run_at(d.start + panels + groups + first % width * 2 + k % 8 * d.width);
            for (unsigned i = 0; i < 8; ++i) values[first + i][k] = widened(run[i]);
        }
    }
}

}  // namespace cuda_emulator
