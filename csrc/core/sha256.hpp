// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), fed in pieces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace isthmus {

class Sha256 {
public:
    void update(std::string_view bytes);
    // 64 lower-case hexadecimal digits. Ends the message: no update after it.
    std::string hex_digest();

private:
    static constexpr std::size_t kBlock = 64;

    void compress(const unsigned char* block);

    std::array<std::uint32_t, 8> state_ = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                           0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};
    std::array<unsigned char, kBlock> pending_{};
    std::size_t n_pending_ = 0;
    std::uint64_t n_bytes_ = 0;
};

}  // namespace isthmus
