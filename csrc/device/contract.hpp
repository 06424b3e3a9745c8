// SPDX-License-Identifier: Apache-2.0
// Floor 2: the contract between the trainer and a device.
//
// The trainer asks a device for a range of steps, not for an operation; how the range is run is the device's own
// business. One step is
//
//     gradient = sum_i w_i * d e_i / d parameters           over the rows i of the batch ("unnormalised")
//     reduce(gradient, loss sum, weight sum)                the seam between machines; nothing on one
//     gradient /= weight sum;  clip to clip_norm;  optimizer update
//
// where e_i is a row's error: the mean of its loss over its observed features. While training, a penalty p_i may be
// added to it; its gradient is, and its sums are told apart from those of the loss.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "device/memory.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// ---- program: what is computed -----------------------------------------------------------------------------------

// A view into each flat buffer (params, gradient, m, v): rows x cols, row-major, contiguous. A bias has cols = 1.
// The offset counts floats and is a multiple of 16 (64 bytes); the gap between two parameters is zero.
struct Parameter {
    std::int64_t offset = 0;
    std::int64_t rows = 0;
    std::int64_t cols = 0;

    std::int64_t size() const { return rows * cols; }
};

using ParamId = std::size_t;  // index into Program::parameters

// y = act(x @ w.T + b); w (out, in), b (out). Tied weights are the same ParamId used twice, once transposed.
struct Dense {
    ParamId weight = 0;
    ParamId bias = 0;
    bool transposed = false;
    Activation activation = Activation::linear;
};

// Keeps the k largest units of each row, the lower index where two are equal, and puts 0 in the place of the others.
// NaN counts as the largest.
struct TopK {
    std::int64_t k = 1;
};

// Draws a normal code: of a row's 2 c inputs the first c are the means, the others the logarithms of the variances.
// While training the output is mean + e^(log variance / 2) * eps, eps being keyed as noise is, with a purpose of its
// own; at inference it is the mean.
struct GaussianSample {};

// The first is a Dense, and so is what follows the code.
using Op = std::variant<Dense, TopK, GaussianSample>;

// A row's p_i is weight times:
//     code_l1   the mean of the absolute values of its code
//     kl        the sum over the code of KL(N(mean, variance) || N(0, 1)), divided by n_features, so that the loss is
//               the negative evidence lower bound divided by n_features where the weight is 1
struct Penalty {
    PenaltyKind kind = PenaltyKind::code_l1;
    double weight = 0.0;
};

struct Program {
    std::int64_t n_features = 0;
    std::vector<Op> ops;
    std::vector<Parameter> parameters;
    std::int64_t flat_size = 0;  // floats in each flat buffer, a multiple of 16
    std::size_t code_op = 0;     // the output of this op is the code
    Loss loss = Loss::mse;
    std::optional<Penalty> penalty;

    // Width of the input of an op; width(ops.size()) is the width of the output.
    std::int64_t width(std::size_t op) const {
        std::int64_t parts = 1;
        for (; op > 0; --op) {
            if (std::holds_alternative<GaussianSample>(ops[op - 1])) parts = 2;
            const auto* const below = std::get_if<Dense>(&ops[op - 1]);
            if (below == nullptr) continue;
            const Parameter& weight = parameters[below->weight];
            return (below->transposed ? weight.cols : weight.rows) / parts;
        }
        return n_features;
    }
};

// ---- settings of an update ----------------------------------------------------------------------------------------

struct UpdateRule {
    Optimizer optimizer = Optimizer::adam;
    double beta_1 = 0.9;
    double beta_2 = 0.999;
    double epsilon = 1e-8;
    double momentum = 0.0;
    double weight_decay = 0.0;
    std::optional<double> clip_norm;
};

// ---- rows -----------------------------------------------------------------------------------------------------

// Sparse rows in CSR: of row r the columns are columns[offsets[r]] up to columns[offsets[r + 1]], ascending, each once;
// what is not there is 0.
struct CsrView {
    const std::int64_t* offsets = nullptr;
    const std::int32_t* columns = nullptr;
    const float* values = nullptr;

    // Row r with its zeros.
    void write_row(std::int64_t r, std::int64_t cols, float* to) const {
        std::fill_n(to, cols, 0.0F);
        for (std::int64_t i = offsets[r]; i < offsets[r + 1]; ++i) to[columns[i]] = values[i];
    }
};

// A row source is looked up by row number. `inputs` may have any row stride. `targets`, when given, is what the
// output is compared with (same shape); otherwise the clean input is. `weights`, when given, has one float a row.
//
// `resident`, when given, is what Model::hold of the same model gave for these rows, or for a source that these are
// rows resident_row and on of: the device then reads its own copy. Inputs and targets may be in the device's memory,
// where they are read in place; the weights are the host's.
//
// `keys`, when given, has the number that noise and draws know each row by; it is the row's own otherwise.
//
// `masked`, where targets are given: a NaN among them was not observed. It has no loss and no gradient, and e_i is the
// mean over the other features of its row. A row without any has e_i = 0, and its weight must be 0. Inputs are finite
// all the same: who makes the source puts something for what is missing.
struct RowSource {
    MatrixView inputs;
    std::optional<MatrixView> targets;
    const float* weights = nullptr;
    // For training alone, without targets: the rows, of which `inputs` then says the shape alone. A device gives them
    // their zeros a batch at a time.
    std::optional<CsrView> sparse = std::nullopt;
    std::shared_ptr<const void> resident = nullptr;
    std::int64_t resident_row = 0;
    bool masked = false;
    const std::int64_t* keys = nullptr;

    std::int64_t rows() const { return inputs.rows; }
    std::int64_t key(std::int64_t row) const { return keys ? keys[row] : row; }
    float weight(std::int64_t row) const { return weights ? weights[row] : 1.0F; }
};

// ---- a range of steps ---------------------------------------------------------------------------------------------

// Corruption of the input while training; keyed by (seed, epoch, RowSource::key, feature), see math/philox.hpp. Seed
// and epoch key what an op draws, too, whatever the amount.
struct Noise {
    NoiseKind kind = NoiseKind::gaussian;
    float amount = 0.0F;  // standard deviation, or the fraction set to 0; 0 means none
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;

    bool operator==(const Noise&) const = default;
};

struct StepRange {
    std::int64_t first_step = 0;         // optimizer steps taken before this range; Adam's t starts at first_step + 1
    std::int64_t batch_size = 0;         // rows of every step but perhaps the last
    std::span<const std::int64_t> rows;  // row numbers in order; ceil(rows / batch_size) steps
    std::span<const double> learning_rates;  // one a step
    Noise noise;
    double loss_sum = 0.0;    // of the epoch's steps before this range: Totals go on from them, step by step, so that
    double weight_sum = 0.0;  // an epoch that was interrupted has the same bits as one that was not
    double penalty_sum = 0.0;

    std::int64_t steps() const { return (static_cast<std::int64_t>(rows.size()) + batch_size - 1) / batch_size; }
};

enum class Status : std::uint8_t {
    complete,
    stopped,   // Stop said so; the state is that after steps_done whole steps
    diverged,  // the loss or penalty, or a parameter after the update, of step number steps_done (from 0) is not
               // finite. The state is then undefined: the trainer goes back to what it kept and repeats steps_done
               // steps.
};

struct Totals {
    double loss_sum = 0.0;    // the range's, plus the sum of w_i * e_i over the rows of the steps done, each before its
                              // update; as it comes out of the reducer, when there is one
    double weight_sum = 0.0;  // sum of w_i, likewise
    double penalty_sum = 0.0;  // sum of w_i * p_i / (the penalty's weight), likewise; 0 without one
    std::int64_t steps_done = 0;
    Status status = Status::complete;
};

// The seam between machines. Called by one thread, with the device's own flat layout of the gradient, which is the
// same for two models of one program on one kind of device.
class Reducer {
public:
    virtual ~Reducer() = default;
    virtual void reduce(std::span<float> gradient, double& loss_sum, double& weight_sum, double& penalty_sum) = 0;
};

// Polled by the calling thread between two steps. May throw: the step just done is whole, and the exception reaches
// the caller of train after the threads have joined.
class Stop {
public:
    virtual ~Stop() = default;
    virtual bool requested() = 0;
};

// ---- state ------------------------------------------------------------------------------------------------------

// Flat buffers in the layout of Program::parameters. m and v are empty until the optimizer needs them.
struct Tensors {
    std::vector<float> params;
    std::vector<float> m;
    std::vector<float> v;
};

// Which plan a step takes. fused: gradient and update together, per weight tile. split: whole flat gradient, then
// reduce, clip, update; needed by a reducer and by clipping. Both give the same bits.
enum class StepPlan : std::uint8_t { automatic, fused, split };

struct CompileOptions {
    Precision precision = Precision::float32;
    int n_threads = 0;  // 0: what the machine and the environment allow; never changes a bit
    StepPlan step_plan = StepPlan::automatic;
};

// ---- model ------------------------------------------------------------------------------------------------------

// What a model computes from rows, for one caller at a time who waits for each answer: everything it needs is there
// when it is made, and it allocates nothing afterwards. The model must outlive it and not be changed during a call.
class Runner {
public:
    virtual ~Runner() = default;

    // As Model::run and Model::row_errors, for at most as many rows as the runner was made for.
    virtual bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) = 0;
    virtual void row_errors(const RowSource& source, std::span<double> errors,
                            std::optional<MutableMatrixView> per_feature) = 0;
};

// A compiled program with its parameters on a device. const methods may be called by many threads at once.
class Model {
public:
    virtual ~Model() = default;

    // Flat buffers in and out. write: m or v empty means zero.
    virtual void write(const Tensors& tensors) = 0;
    virtual void read(Tensors& tensors) const = 0;
    // The parameters alone; the moments stay.
    virtual void write_parameters(const std::vector<float>& params) = 0;
    virtual void read_parameters(std::vector<float>& params) const = 0;

    // Keeps params, m and v on the device; rollback returns to what was kept last.
    virtual void keep() = 0;
    virtual void rollback() = 0;

    // Copies the rows to where the device reads them, for calls that come back to the same rows: whoever sets the
    // result as RowSource::resident must not change the rows while it lives. Null when the device reads them where
    // they are, or has no room: then each call brings what it needs. Rows in the device's memory are only referred to,
    // unless inputs and targets lie differently; Error(memory) where that has no room.
    virtual std::shared_ptr<const void> hold(const RowSource& /*source*/) const { return nullptr; }

    virtual Totals train(const RowSource& source, const StepRange& range, const UpdateRule& rule, Reducer* reducer,
                         Stop& stop) = 0;

    // How the last range of steps was run, in words, for people who ask why it took so long; empty before the first.
    virtual std::string last_plan() const { return {}; }

    // The unnormalised gradient of all rows as one batch, no noise, what is drawn keyed by seed 0 and epoch 0, in the
    // flat layout of Program::parameters, with its sums. Does not touch the state.
    virtual Totals gradient(const RowSource& source, std::span<float> flat) const = 0;

    // Ops [first_op, last_op), the first a Dense, on rows of width(first_op); out is (rows, width(last_op)) and does
    // not overlap them. A row's result does not depend on the other rows. False, and out without meaning, when a value
    // of the rows is not finite: the device reads them all anyway, and in parallel.
    virtual bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const = 0;

    // e_i for each row, double (rows), in that memory. per_feature, when given, takes each element's loss (rows,
    // n_features): NaN for what was not observed.
    virtual void row_errors(const RowSource& source, std::span<double> errors,
                            std::optional<MutableMatrixView> per_feature, Memory memory = Memory::host) const = 0;

    // n_threads 0: as in CompileOptions. Null when the device has nothing better than run and row_errors.
    virtual std::unique_ptr<Runner> runner(std::int64_t /*max_rows*/, int /*n_threads*/) const { return nullptr; }
};

// ---- single kernels, for people who measure or embed single pieces (isthmus.kernels) ----------------------------

class Kernels {
public:
    virtual ~Kernels() = default;
    // y = act(x @ weight.T + bias); bias may be null. x (n, in), weight (out, in), y (n, out)
    virtual void dense_forward(MatrixView x, MatrixView weight, const float* bias, Activation activation,
                               MutableMatrixView y, const CompileOptions& options) const = 0;
    // dx = dz @ weight; dz (n, out), dx (n, in)
    virtual void dense_backward_input(MatrixView dz, MatrixView weight, MutableMatrixView dx,
                                      const CompileOptions& options) const = 0;
    // dweight = dz.T @ x (out, in); dbias = sum over rows of dz (out)
    virtual void dense_backward_weight(MatrixView x, MatrixView dz, MutableMatrixView dweight, float* dbias,
                                       const CompileOptions& options) const = 0;
    virtual void activation_forward(MatrixView z, Activation activation, MutableMatrixView y,
                                    const CompileOptions& options) const = 0;
    // dz = dy * act'(z)
    virtual void activation_backward(MatrixView z, MatrixView dy, Activation activation, MutableMatrixView dz,
                                     const CompileOptions& options) const = 0;
    // Mean over all elements of the loss, and its gradient. `y` is the output, for bce the logits.
    virtual double loss(Loss loss, MatrixView y, MatrixView target, MutableMatrixView dy,
                        const CompileOptions& options) const = 0;
    // In place on n floats; step counts from 1.
    virtual void update(const UpdateRule& rule, double learning_rate, std::int64_t step, float* param,
                        const float* gradient, float* m, float* v, std::int64_t n,
                        const CompileOptions& options) const = 0;
};

// ---- device -----------------------------------------------------------------------------------------------------

class Device {
public:
    virtual ~Device() = default;
    virtual std::string name() const = 0;  // "cpu", "cuda:0"
    // Throws Error(runtime) for a precision the device cannot do.
    virtual std::unique_ptr<Model> compile(const Program& program, const CompileOptions& options) const = 0;
    virtual const Kernels& kernels() const = 0;
    // Null where all memory is the host's: nothing of Memory::device then comes to the device.
    virtual const DeviceMemory* memory() const { return nullptr; }
};

}  // namespace isthmus
