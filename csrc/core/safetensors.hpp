// SPDX-License-Identifier: Apache-2.0
// The safetensors container: 8 bytes, little-endian, with the length of a JSON header; the header; the tensors' bytes,
// one after the other without gap. It knows nothing of models; model_file says what the names mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isthmus {

inline constexpr std::size_t kMaxHeaderBytes = std::size_t{1} << 20U;

enum class TensorType : std::uint8_t { f32, f64 };

struct StoredTensor {
    std::string name;
    TensorType type = TensorType::f32;
    std::vector<std::int64_t> shape;  // row-major
    std::string_view bytes;           // not owned
};

struct SafeTensors {
    std::vector<std::pair<std::string, std::string>> metadata;
    std::vector<StoredTensor> tensors;  // in the order of their bytes
};

// Throws Error(value) when the header would be longer than kMaxHeaderBytes. It is padded with spaces so that the
// tensors begin at a multiple of 64 bytes.
std::string to_safetensors(const SafeTensors& contents);

// Views into `file`. Throws Error(model_format), naming offset or tensor, unless the file is what to_safetensors writes
// for what it contains, to the byte: sizes are checked products that end where the file ends.
SafeTensors parse_safetensors(std::string_view file);

}  // namespace isthmus
