// SPDX-License-Identifier: Apache-2.0
// A compiled program on the CPU.
#pragma once

#include <memory>
#include <string>

#include "cpu/buffer.hpp"
#include "cpu/inference.hpp"
#include "cpu/network.hpp"
#include "cpu/replica_step.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

class CpuModel final : public Model {
public:
    CpuModel(const Program& program, const CompileOptions& options);

    void write(const Tensors& tensors) override;
    void read(Tensors& tensors) const override;
    void write_parameters(const std::vector<float>& params) override;
    void read_parameters(std::vector<float>& params) const override;
    void keep() override;
    void rollback() override;
    Totals train(const RowSource& source, const StepRange& range, const UpdateRule& rule, Reducer* reducer,
                 Stop& stop) override;
    std::string last_plan() const override { return last_plan_; }
    Totals gradient(const RowSource& source, std::span<float> flat) const override;
    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const override;
    void row_errors(const RowSource& source, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                    Memory memory) const override;
    std::unique_ptr<Runner> runner(std::int64_t max_rows, int n_threads) const override;

private:
    class CpuRunner;

    struct Flat {
        Buffer params, m, v;
    };

    int thread_limit() const;
    int copy_threads() const;
    void copy(const Flat& from, Flat& to) const;
    void read_flat(const Buffer& from, std::vector<float>& to) const;
    Inference inference() const;

    Network network_;
    CompileOptions options_;
    Flat flat_;
    Flat kept_;
    Buffer copies_;                         // of the weights, as the products want them
    Buffer gradient_;                       // the split plan's
    std::unique_ptr<Workspace> workspace_;  // the last train's
    std::unique_ptr<Replica> replica_;      // likewise
    std::string last_plan_;
    mutable ScratchPool scratch_;
};

}  // namespace isthmus::cpu
