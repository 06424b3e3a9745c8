// SPDX-License-Identifier: Apache-2.0
#include "core/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "core/json.hpp"
#include "isthmus/types.hpp"

namespace isthmus {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they lie in memory");

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kDataAlignment = 64;
constexpr const char* kMetadata = "__metadata__";

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::model_format, what); }

std::int64_t item_bytes(TensorType type) { return type == TensorType::f32 ? 4 : 8; }
const char* type_name(TensorType type) { return type == TensorType::f32 ? "F32" : "F64"; }

std::string label(const std::string& name) { return "tensor " + summary(Json(name)); }

TensorType parse_type(const std::string& name, const Json* dtype) {
    const auto* text = dtype ? dtype->as<std::string>() : nullptr;
    for (const TensorType type : {TensorType::f32, TensorType::f64}) {
        if (text && *text == type_name(type)) return type;
    }
    fail(label(name) + ": dtype must be \"F32\" or \"F64\"; got " + (dtype ? summary(*dtype) : "none"));
}

std::vector<std::int64_t> parse_sizes(const std::string& name, const char* field, const Json* sizes) {
    const auto* items = sizes ? sizes->as<JsonArray>() : nullptr;
    std::vector<std::int64_t> result;
    for (std::size_t i = 0; items && i < items->size(); ++i) {
        const auto* size = (*items)[i].as<std::int64_t>();
        if (!size || *size < 0) break;
        result.push_back(*size);
    }
    if (items && result.size() == items->size()) return result;
    fail(label(name) + ": " + field + " must be an array of integers of at least 0; got " +
         (sizes ? summary(*sizes) : "none"));
}

// The tensor that begins at byte `begin` of the data.
StoredTensor parse_tensor(const std::string& name, const Json& entry, std::string_view data, std::size_t begin) {
    StoredTensor tensor{
        name, parse_type(name, entry.find("dtype")), parse_sizes(name, "shape", entry.find("shape")), {}};
    const std::vector<std::int64_t> offsets = parse_sizes(name, "data_offsets", entry.find("data_offsets"));
    std::int64_t size = item_bytes(tensor.type);
    for (const std::int64_t length : tensor.shape) {
        if (__builtin_mul_overflow(size, length, &size)) fail(label(name) + ": shape does not fit 63 bits");
    }
    // Both sides are at least 0; the difference is taken where it cannot wrap.
    if (offsets.size() != 2 || static_cast<std::uint64_t>(offsets[0]) != begin || offsets[1] - offsets[0] != size) {
        fail(label(name) + ": data_offsets must be [" + std::to_string(begin) + ", " + std::to_string(begin) + " + " +
             std::to_string(size) + "]; got " + summary(*entry.find("data_offsets")));
    }
    if (static_cast<std::uint64_t>(size) > data.size() - begin) {
        fail(label(name) + ": " + std::to_string(size) + " bytes at data offset " + std::to_string(begin) +
             ", but the file has " + std::to_string(data.size()) + " bytes of data");
    }
    tensor.bytes = data.substr(begin, static_cast<std::size_t>(size));
    return tensor;
}

// Length, JSON and padding.
std::string header_of(const SafeTensors& contents) {
    JsonObject metadata;
    for (const auto& [key, text] : contents.metadata) metadata.emplace_back(key, Json(text));
    JsonObject members;
    members.emplace_back(kMetadata, Json(std::move(metadata)));
    std::int64_t begin = 0;
    for (const StoredTensor& tensor : contents.tensors) {
        const std::int64_t end = begin + static_cast<std::int64_t>(tensor.bytes.size());
        const std::array offsets = {begin, end};
        JsonObject entry;
        entry.emplace_back("dtype", Json(std::string(type_name(tensor.type))));
        entry.emplace_back("shape", Json(JsonArray(tensor.shape.begin(), tensor.shape.end())));
        entry.emplace_back("data_offsets", Json(JsonArray(offsets.begin(), offsets.end())));
        members.emplace_back(tensor.name, Json(std::move(entry)));
        begin = end;
    }
    const std::string text = Json(std::move(members)).dump();
    const std::size_t padded = (kLengthBytes + text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
    std::string header;
    header.reserve(padded);
    for (std::size_t i = 0; i < kLengthBytes; ++i) header += static_cast<char>((padded - kLengthBytes) >> (8 * i));
    header += text;
    header.resize(padded, ' ');
    return header;
}

Json parse_header(std::string_view text) {
    try {
        return parse_json(text);
    } catch (const Error& error) {
        fail("header, from offset " + std::to_string(kLengthBytes) + ": " + error.what());
    }
}

}  // namespace

std::string to_safetensors(const SafeTensors& contents) {
    std::string file = header_of(contents);
    if (file.size() > kLengthBytes + kMaxHeaderBytes) {
        throw Error(ErrorKind::value, "the header of the model file would take " + std::to_string(file.size()) +
                                          " bytes; at most " + std::to_string(kMaxHeaderBytes) +
                                          " are allowed: too many layers, or feature names too long");
    }
    std::size_t size = file.size();
    for (const StoredTensor& tensor : contents.tensors) size += tensor.bytes.size();
    file.reserve(size);
    for (const StoredTensor& tensor : contents.tensors) file += tensor.bytes;
    return file;
}

SafeTensors parse_safetensors(std::string_view file) {
    if (file.size() < kLengthBytes) {
        fail("offset 0: 8 bytes of the header's length are needed; there are " + std::to_string(file.size()));
    }
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < kLengthBytes; ++i) {
        length |= std::uint64_t{static_cast<unsigned char>(file[i])} << (8 * i);
    }
    if (length > std::min(kMaxHeaderBytes, file.size() - kLengthBytes)) {
        fail("offset 0: the header's length must be at most " +
             std::to_string(std::min(kMaxHeaderBytes, file.size() - kLengthBytes)) + "; got " + std::to_string(length));
    }
    const std::size_t data_start = kLengthBytes + static_cast<std::size_t>(length);
    const Json header = parse_header(file.substr(kLengthBytes, length));
    const auto* members = header.as<JsonObject>();
    const auto* metadata = members && !members->empty() && members->front().first == kMetadata
                               ? members->front().second.as<JsonObject>()
                               : nullptr;
    if (!metadata) fail(std::string("header: the first member must be an object named ") + kMetadata);

    SafeTensors contents;
    for (const auto& [key, value] : *metadata) {
        const auto* text = value.as<std::string>();
        if (!text) fail(std::string(kMetadata) + "." + summary(Json(key)) + " must be a string; got " + summary(value));
        contents.metadata.emplace_back(key, *text);
    }
    const std::string_view data = file.substr(data_start);
    std::size_t begin = 0;
    for (std::size_t i = 1; i < members->size(); ++i) {
        const auto& [name, entry] = (*members)[i];
        contents.tensors.push_back(parse_tensor(name, entry, data, begin));
        begin += contents.tensors.back().bytes.size();
    }
    if (begin != data.size()) {
        fail("offset " + std::to_string(data_start + begin) + ": " + std::to_string(data.size() - begin) +
             " bytes after the last tensor");
    }
    // What is left of freedom: spaces, escapes, the order of members, members that nobody reads.
    const std::string expected = header_of(contents);
    const std::string_view found = file.substr(0, data_start);
    if (found != expected) {
        const auto differs = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end()).first;
        fail("offset " + std::to_string(differs - found.begin()) + ": the header is not written as isthmus writes it");
    }
    return contents;
}

}  // namespace isthmus
