// SPDX-License-Identifier: Apache-2.0
// A CUDA library without CUDA, to test who opens it: two devices that compile nothing and have no kernels.
#include "device/cuda_library.hpp"

namespace isthmus {
namespace {

class StubDevice final : public Device {
public:
    explicit StubDevice(int ordinal) : ordinal_(ordinal) {}
    std::string name() const override { return "cuda:" + std::to_string(ordinal_); }
    std::unique_ptr<Model> compile(const Program&, const CompileOptions&) const override {
        throw Error(ErrorKind::memory, "the stub has no memory");
    }
    const Kernels& kernels() const override { throw Error(ErrorKind::runtime, "the stub has no kernels"); }

private:
    int ordinal_;
};

}  // namespace
}  // namespace isthmus

extern "C" __attribute__((visibility("default"))) const isthmus::Device* isthmus_cuda_device(int ordinal) {
    static const isthmus::StubDevice devices[] = {isthmus::StubDevice(0), isthmus::StubDevice(1)};
    if (ordinal >= 2) throw isthmus::Error(isthmus::ErrorKind::runtime, "the stub has 2 devices");
    return &devices[ordinal];
}
