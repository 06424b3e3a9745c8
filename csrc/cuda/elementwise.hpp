// SPDX-License-Identifier: Apache-2.0
// Everything that is not a product, queued on a stream. All pointers are to device memory; matrices of the device's own
// have a stride that is a multiple of four floats, and begin at one of 16 bytes.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/planes.hpp"
#include "cuda/progress.hpp"
#include "cuda/step_table.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// Blocks of a kernel that has n things to do, 256 at a time, each block as often as it takes.
inline unsigned blocks_for(std::int64_t n) {
    return static_cast<unsigned>(std::min<std::int64_t>((n + 255) / 256, 2048));
}

// ---- rows ---------------------------------------------------------------------------------------------------------

// Rows of a batch on the device. Row r of the batch stands at row first + position[r], or first + r without positions.
// Where positions and numbers are those of all steps of a table, step_rows is how many each step has.
struct BatchRows {
    const float* inputs = nullptr;
    const float* targets = nullptr;  // the inputs, where there are none
    std::int64_t stride = 0;         // of both; the floats between rows are 0
    const float* weights = nullptr;  // 1 where there are none
    const std::int64_t* positions = nullptr;
    const std::int64_t* numbers = nullptr;  // row numbers that key the noise
    std::int64_t first = 0;
    StepTable table;
    std::int64_t step_rows = 0;
    bool masked = false;  // as RowSource has it

    // Where in positions and numbers the batch begins.
    ISTHMUS_HD std::int64_t begin() const { return step_rows == 0 ? 0 : table.under_way() * step_rows; }

    bool operator==(const BatchRows&) const = default;
};

// x (count, cols) = the batch's inputs, corrupted by the noise of progress's epoch; the columns up to the stride become
// 0. As floats, as planes or both; x_stride is that of the floats, given or not.
struct GatherArgs {
    BatchRows rows;
    std::int64_t count, cols;
    Noise noise;
    float* x;
    std::int64_t x_stride;
    const Progress* progress;
    Planes planes = {};
};
void gather(const GatherArgs& args, cudaStream_t stream);

// The planes of a matrix (rows, cols) of floats.
struct SplitArgs {
    const float* from;
    std::int64_t rows, cols, stride;
    Planes to;
};
void split(const SplitArgs& args, cudaStream_t stream);

// ---- loss ---------------------------------------------------------------------------------------------------------

// For each row r of y (rows, cols): errors[r] = e_r, and where dz is given, as floats or as planes, dz = weight_r /
// divisor * d loss / d y * act'(kept), and where values is given each element's loss. kept is y or z, of the stride of
// y; it may be dz.
//
// Where progress is given, errors[r] = w_r e_r, and their sum, in a fixed tree, is the step's loss or, unless `opens`,
// is added to it. Where it `closes` the counters go on to the next step, or a step that has diverged is marked; after
// that nothing is written any more.
//
// Where the batch is masked, a row is divided by the number of its targets that are not NaN, and only they count.
inline constexpr std::int64_t kWideLoss = 256;  // columns from which a row's sum is a block's, not a warp's
struct LossArgs {
    Loss loss;
    Activation activation;
    std::int64_t rows, cols;
    const float* y;
    std::int64_t y_stride;
    BatchRows batch;
    const float* kept;
    float divisor;
    float* dz;
    double* errors;
    float* values;
    std::int64_t values_stride;
    Progress* progress;
    bool opens, closes;
    Planes dz_planes;
};
void loss(const LossArgs& args, cudaStream_t stream);
void masked_loss(const LossArgs& args, cudaStream_t stream);  // where the batch is masked; `loss` calls it

// ---- update ---------------------------------------------------------------------------------------------------------

// The clip factor of the table's progress for a gradient of n floats, a multiple of 4, that is still to be multiplied
// by its step's scale. partials holds kNormBlocks numbers.
inline constexpr int kNormBlocks = 256;
struct NormArgs {
    const float* gradient;
    std::int64_t n;
    double clip_norm;
    double* partials;
    StepTable table;
};
void clip_factor(const NormArgs& args, cudaStream_t stream);

// In place on n floats, a multiple of 4, all aligned to 16 bytes; planes, where given, are written as one row. Where
// the table has progress the gradient is multiplied by its clip factor if `clipped`, nothing happens once a step has
// diverged, and the step is marked when a parameter or second moment is not finite afterwards.
struct UpdateArgs {
    Optimizer optimizer;
    bool clipped;
    float* param;
    const float* gradient;
    float* m;
    float* v;
    std::int64_t n;
    StepTable table;
    Planes planes = {};
};
void update(const UpdateArgs& args, cudaStream_t stream);

// ---- activations on their own, on n floats without gaps ------------------------------------------------------------

void activation_forward(Activation activation, std::int64_t n, const float* z, float* y, cudaStream_t stream);
// dz = dy * act'(z)
void activation_backward(Activation activation, std::int64_t n, const float* z, const float* dy, float* dz,
                         cudaStream_t stream);

}  // namespace isthmus::cuda
