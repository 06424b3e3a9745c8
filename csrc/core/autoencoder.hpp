// SPDX-License-Identifier: Apache-2.0
// A model with its state: what the bindings and, later, the C interface hold.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/budget.hpp"
#include "core/checkpoints.hpp"
#include "core/detector.hpp"
#include "core/model_file.hpp"
#include "core/passage.hpp"
#include "core/reserve.hpp"
#include "core/row_feed.hpp"
#include "core/scaling.hpp"
#include "core/trainer.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

class FreshColumns;

class Autoencoder {
public:
    // Initial weights from the seed.
    Autoencoder(Configuration configuration, std::int64_t n_features, std::uint64_t seed, const Device& device,
                const CompileOptions& options);
    Autoencoder(StoredModel stored, const Device& device, const CompileOptions& options);

    const Configuration& configuration() const { return configuration_; }
    // New training parameters; throws Error(value) when the network would change.
    void configure(Configuration configuration);
    std::int64_t n_features() const { return n_features_; }
    std::int64_t code_size() const;
    const Program& program() const { return program_; }
    const TrainingState& state() const { return state_; }
    const Scaling& scaling() const { return scaling_; }              // empty until something was trained on
    const Calibration& calibration() const { return calibration_; }  // likewise; of a detector alone
    // May rows lie in the device's memory? What a scaling and a detector compute in double they compute on the host.
    bool reads_device_rows() const;
    // How the device ran the last steps, in words; empty before the first.
    std::string last_plan() const { return model_->last_plan(); }

    // Rows held back by configuration.validation_fraction, when no validation rows are given, are drawn from the seed.
    // The first training fits the scaling and, with Missing::mask, the columns' means, to the rows that are trained on;
    // later ones keep them. With Missing::mask a NaN is a missing value, in these rows and in all that follow.
    // max_memory is in bytes, 0 being no limit; Error(memory), naming them, for what takes more: see core/budget.hpp.
    // Throws Error(value) naming row and column (of `training` or `validation`) for NaN, infinity, bad weights, and
    // for bce targets outside [0, 1] beyond rounding (1e-6), which under a fitted minmax are clipped instead. Training
    // and validation rows may be streams, in their own order whatever `shuffle` says, but not a detector's, and not
    // with a validation_fraction. Nothing is written to their facts by anybody else.
    FitEnd fit(const Samples& training, const Samples* validation, const Hooks& hooks,
               const Checkpointing& checkpointing = {}, std::int64_t max_memory = 0);
    // Goes on with the fit that this model was interrupted in, with the bits that it would have had. Throws
    // Error(value) that lists what is not as it was: parameters but for those that change no bit and for more epochs,
    // and, where a checkpoint remembers them, the rows.
    FitEnd resume(Configuration configuration, const Samples& training, const Samples* validation, Hooks hooks,
                  const Checkpointing& checkpointing = {}, std::int64_t max_memory = 0);
    void partial_fit(const Samples& training, const Hooks& hooks, std::int64_t max_memory = 0);

    // Rows are checked as in fit; outputs are (rows, code), (rows, features), ... and may lie in the device's memory.
    // Rows that no device can read as they are go there a block at a time. With a reserve, which one caller uses at a
    // time, and rows of the host within its limit no call allocates memory, and the bits are the same.
    void encode(const Table& x, MutableMatrixView code) const { encode(x, code, nullptr); }
    void decode(const Table& code, MutableMatrixView x) const { decode(code, x, nullptr); }
    void reconstruct(const Table& x, MutableMatrixView y) const { reconstruct(x, y, nullptr); }
    void encode(const Table& x, MutableMatrixView code, Reserve* reserve) const;
    void decode(const Table& code, MutableMatrixView x, Reserve* reserve) const;
    void reconstruct(const Table& x, MutableMatrixView y, Reserve* reserve) const;
    // Codes drawn from the distributions of the rows, and from N(0, 1); a variational autoencoder's, else throws
    // Error(runtime). Row r of `code` is a function of the seed and of first_row + r.
    void draw_codes(const Table& x, std::uint64_t seed, std::int64_t first_row, MutableMatrixView code) const;
    void draw_codes(std::uint64_t seed, MutableMatrixView code) const;
    // A caller that goes through its rows in blocks says which row of them x begins with. In the units of the input a
    // difference is multiplied by the column's scale before the loss is taken; bce has no such units. A row of which
    // nothing was observed has no error: NaN, as each element has that is missing. errors and per_feature lie in the
    // memory that x is in.
    void reconstruction_error(const Table& x, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                              Units units = Units::scaled, std::int64_t first_row = 0,
                              Reserve* reserve = nullptr) const;
    // The mean over the features of |difference| / spread, negative: larger is more normal. per_feature takes each
    // |difference| / spread. Of a detector that was trained; else throws Error(runtime).
    void anomaly_scores(const Table& x, std::span<double> scores, std::optional<MutableMatrixView> per_feature,
                        Reserve* reserve = nullptr) const;
    // How rare such a score is among the rows held back. Throws Error(value) where there are none.
    void p_values(const Table& x, std::span<double> p) const;
    // Memory for these calls on at most so many rows. n_threads 0: as in CompileOptions.
    Reserve reserve(std::int64_t max_rows, int n_threads) const;
    // Loss over rows.
    double evaluate(const Samples& samples) const;
    // d loss / d parameter of all rows as one batch: the loss is sum(w e) / sum(w). One flat vector, program layout.
    std::vector<float> gradients(const Samples& samples) const;

    std::vector<float> weights() const;  // flat, program layout
    // Throws Error(value) for a wrong size or a non-finite value, naming the parameter. Moments restart at zero.
    void set_weights(std::span<const float> flat);
    // Instead of one that the first training fits, for weights that were trained elsewhere. Throws Error(value) for a
    // wrong size and for what is not finite, or not above 0 where something is divided by it, and Error(runtime) for a
    // configuration without scaling.
    void set_scaling(Scaling scaling);

    StoredModel store(bool training_state) const;
    std::vector<std::string> feature_names;

private:
    FitEnd train(Samples training, const Samples* validation, Hooks hooks, const Checkpointing& checkpointing,
                 std::int64_t max_memory, Configuration* resumed_with);
    void survey(Samples& samples, const char* name, FreshColumns* columns, bool prints, Stop* stop);
    double least_bytes(const Samples& training, const Passage& passage) const;
    double least_bytes_to_validate(const Samples& validation, const Passage& passage) const;
    MemoryBudget budget(const Samples& training, const Samples* validation, bool checkpoints,
                        std::int64_t max_memory) const;
    template <class Train>
    FitEnd calibrated(RowFeed& rows, const Samples& all, const std::optional<DetectorRows>& chosen, Train&& train);
    void calibrate(RowFeed& rows, const Samples& all, const DetectorRows& chosen);
    template <class Body>
    void for_each_reconstruction(const RowSource& source, Reserve* reserve, Body&& body) const;
    Passage passage() const;
    void check_where(const Table& rows, const char* name) const;
    void check_inputs(const Table& x) const;
    void check_variational() const;
    void check_samples(const Samples& samples, const RowNames& names) const;
    void run(std::size_t first_op, std::size_t last_op, const Table& rows, MutableMatrixView out, const RowNames& names,
             Reserve* reserve) const;
    bool run_on_device(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out,
                       Reserve* reserve) const;

    Configuration configuration_;
    std::int64_t n_features_;
    Program program_;
    TrainingState state_;
    Scaling scaling_;
    std::vector<double> means_;  // of the columns, with Missing::mask; empty until something was trained on
    Calibration calibration_;
    std::unique_ptr<Model> model_;
    int n_threads_;
    bool training_ = false;  // see Training in the source
};

}  // namespace isthmus
