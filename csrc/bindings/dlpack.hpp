// SPDX-License-Identifier: Apache-2.0
// The C structures of DLPack 1.x and of the unversioned DLPack before it (dmlc/dlpack, include/dlpack/dlpack.h), and
// what the Python protocol calls their capsules.
#pragma once

#include <cstdint>

namespace isthmus::bindings::dlpack {

enum DeviceType : std::int32_t { kCuda = 2, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

struct Device {
    std::int32_t type;
    std::int32_t id;
};

struct DataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: row-major without gaps
    std::uint64_t byte_offset;
};

struct Version {
    std::uint32_t major;
    std::uint32_t minor;
};
inline constexpr Version kVersion{1, 0};  // what is written; any 1.x is read

struct Versioned {
    static constexpr const char* kName = "dltensor_versioned";
    static constexpr const char* kUsed = "used_dltensor_versioned";

    Version version;
    void* manager;
    void (*deleter)(Versioned*);
    std::uint64_t flags;
    Tensor tensor;
};

struct Unversioned {
    static constexpr const char* kName = "dltensor";
    static constexpr const char* kUsed = "used_dltensor";

    Tensor tensor;
    void* manager;
    void (*deleter)(Unversioned*);
};

}  // namespace isthmus::bindings::dlpack
