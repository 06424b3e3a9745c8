// SPDX-License-Identifier: Apache-2.0
// The CPU device: what it can do.
#include <memory>

#include "cpu/cpu.hpp"
#include "cpu/model.hpp"
#include "cpu/single_kernels.hpp"

namespace isthmus::cpu {

namespace {

class CpuDevice final : public Device {
public:
    std::string name() const override { return "cpu"; }

    std::unique_ptr<Model> compile(const Program& program, const CompileOptions& options) const override {
        return std::make_unique<CpuModel>(program, options);
    }

    const Kernels& kernels() const override { return kernels_; }

private:
    CpuKernels kernels_;
};

}  // namespace

const Device& device() {
    static const CpuDevice cpu;
    return cpu;
}

}  // namespace isthmus::cpu
