// SPDX-License-Identifier: Apache-2.0
// A compiled program on a CUDA device.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "cuda/buffer.hpp"
#include "cuda/inference.hpp"
#include "cuda/memory.hpp"
#include "cuda/network.hpp"
#include "cuda/one_block_training.hpp"
#include "cuda/passes.hpp"
#include "cuda/plan.hpp"
#include "cuda/stream.hpp"
#include "cuda/training.hpp"
#include "cuda/transfer.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

class CudaModel final : public Model {
public:
    CudaModel(int ordinal, const CudaMemory& memory, const Limits& limits, const Program& program,
              Arithmetic arithmetic);
    ~CudaModel() override;

    void write(const Tensors& tensors) override;
    void read(Tensors& tensors) const override;
    void write_parameters(const std::vector<float>& params) override;
    void read_parameters(std::vector<float>& params) const override;
    void keep() override;
    void rollback() override;
    std::shared_ptr<const void> hold(const RowSource& source) const override;
    Totals train(const RowSource& source, const StepRange& range, const UpdateRule& rule, Reducer* reducer,
                 Stop& stop) override;
    std::string last_plan() const override { return last_plan_; }
    Totals gradient(const RowSource& source, std::span<float> flat) const override;
    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const override;
    void row_errors(const RowSource& source, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                    Memory memory) const override;

private:
    Parameters parameters() const;
    void use_parameters();
    Inference inference() const;
    Totals train_in_one_block(const OneBlockPlan& plan, const RowSource& source, const HeldRows& held,
                              std::int64_t first, const StepRange& range, const UpdateRule& rule, Stop& stop);

    int ordinal_;
    const CudaMemory& memory_;
    Limits limits_;
    Network network_;
    Stream stream_;
    DeviceArray<float> state_;
    DeviceArray<float> kept_;
    WeightPlanes planes_;
    std::unique_ptr<RangeBuffers> range_buffers_;  // the last train's
    std::unique_ptr<Workspace> workspace_;         // likewise
    std::unique_ptr<OneBlockBuffers> one_block_buffers_;
    std::string last_plan_;
    mutable std::mutex holding_;  // of what brings rows to be held
    mutable PinnedPair<float> pinned_;
    mutable LanePool lanes_;
};

}  // namespace isthmus::cuda
