// SPDX-License-Identifier: Apache-2.0
// The CPU device: what it can do, and the scans that need its instruction set.
#include <string>

#include "cpu/cpu.hpp"
#include "cpu/floating_point.hpp"
#include "cpu/isa.hpp"
#include "cpu/model.hpp"
#include "cpu/single_kernels.hpp"
#include "math/names.hpp"

namespace isthmus::cpu {

namespace {

class CpuDevice final : public Device {
public:
    std::string name() const override { return "cpu"; }

    std::unique_ptr<Model> compile(const Program& program, const CompileOptions& options) const override {
        if (options.precision != Precision::float32) {
            throw Error(ErrorKind::runtime, "precision is '" + std::string(math::name(options.precision)) +
                                                "'; the CPU device computes in float32 only");
        }
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

std::optional<Position> find_non_finite(MatrixView rows) {
    const FloatingPointScope mode;
    const InstructionSet& isa = active_instruction_set();
    for (std::int64_t r = 0; r < rows.rows; ++r) {
        if (const std::int64_t c = isa.find_non_finite(rows.row(r), rows.cols); c >= 0) return Position{r, c};
    }
    return std::nullopt;
}

}  // namespace isthmus::cpu
