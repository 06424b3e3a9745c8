// SPDX-License-Identifier: Apache-2.0
// A model file's digest and header set right again after something in it was changed: what an attacker would send.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "core/sha256.hpp"

namespace sealing {

inline constexpr std::size_t kDigestAt = 8 + std::string_view(R"({"__metadata__":{"digest":"sha256:)").size();

// The digest's definition, a second time.
inline std::string sealed(std::string file) {
    if (file.size() < kDigestAt + 64) return file;
    file.replace(kDigestAt, 64, std::string(64, '0'));
    isthmus::Sha256 hash;
    hash.update(file);
    return file.replace(kDigestAt, 64, hash.hex_digest());
}

// The same of many changes at one place: what lies before it is hashed once.
class Sealer {
public:
    Sealer(std::string_view file, std::size_t at) : unsealed_(file) {
        if (file.size() < kDigestAt + 64 || at < kDigestAt + 64) return;
        unsealed_.replace(kDigestAt, 64, std::string(64, '0'));
        before_ = at;
        hash_.update(std::string_view(unsealed_).substr(0, at));
    }

    // With this byte there.
    std::string operator()(std::size_t at, char byte) const {
        std::string file = unsealed_;
        file[at] = byte;
        if (before_ == 0) return sealed(std::move(file));
        isthmus::Sha256 hash = hash_;
        hash.update(std::string_view(file).substr(before_));
        return file.replace(kDigestAt, 64, hash.hex_digest());
    }

private:
    std::string unsealed_;
    std::size_t before_ = 0;
    isthmus::Sha256 hash_;
};

inline std::size_t header_length(const std::string& file) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    return length;
}

// Another header before the same data: padded, its length and the digest right.
inline std::string with_header(const std::string& file, std::string header) {
    const std::string data = file.substr(8 + header_length(file));
    while ((8 + header.size()) % 64 != 0) header += ' ';
    const std::uint64_t length = header.size();
    std::string forged(reinterpret_cast<const char*>(&length), 8);
    return sealed(forged + header + data);
}

inline std::string header_of(const std::string& file) {
    std::string header = file.substr(8, header_length(file));
    return header.substr(0, header.find_last_not_of(' ') + 1);
}

}  // namespace sealing
