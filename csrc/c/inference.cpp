// SPDX-License-Identifier: Apache-2.0
// Rows through a model, and sessions, which do the same with memory taken beforehand.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "c/handles.hpp"
#include "core/imputation.hpp"
#include "core/reserve.hpp"
#include "core/scaling.hpp"

using isthmus::Autoencoder;
using isthmus::Error;
using isthmus::ErrorKind;
using isthmus::MatrixView;
using isthmus::MutableMatrixView;
using isthmus::Reserve;
using isthmus::SharedModel;
using isthmus::Table;

struct isthmus_session {
    isthmus_session(std::shared_ptr<const SharedModel> model, Reserve memory)
        : shared(std::move(model)), reserve(std::move(memory)) {}

    std::shared_ptr<const SharedModel> shared;
    Reserve reserve;
    std::atomic_flag busy;
};

namespace isthmus::c {
namespace {

using Run = void (Autoencoder::*)(const Table&, MutableMatrixView, Reserve*) const;
using Width = std::int64_t (Autoencoder::*)() const;

std::optional<MutableMatrixView> elements(const Autoencoder& core, const Table& x, float* out, std::size_t count) {
    if (out == nullptr) return std::nullopt;
    return output(out, count, x.rows, core.n_features(), "per_feature");
}

void score_samples(const Autoencoder& core, const Table& x, std::span<double> scores,
                   std::optional<MutableMatrixView> per_feature, Reserve* reserve) {
    if (core.configuration().kind == ModelKind::anomaly_detector) {
        return core.anomaly_scores(x, scores, per_feature, reserve);
    }
    core.reconstruction_error(x, scores, per_feature, Units::scaled, 0, reserve);
    for (double& score : scores) score = -score;
}

isthmus_status run(const isthmus_model* model, const isthmus_rows* x, Run function, Width width, float* out,
                   std::size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        (core.*function)(rows, output(out, count, rows.rows, (core.*width)(), "the output"), nullptr);
    });
}

// Of one thread at a time: a second one is told so, instead of getting the other's numbers.
class Turn {
public:
    explicit Turn(isthmus_session& session) : session_(session) {
        if (session_.busy.test_and_set(std::memory_order_acquire)) {
            throw Error(ErrorKind::runtime, "the session is in use by another thread; each thread needs its own");
        }
    }
    ~Turn() { session_.busy.clear(std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    isthmus_session& session_;
};

// Calls body(core, rows of the width, reserve).
template <class Body>
isthmus_status run(isthmus_session* session, const float* x, std::int64_t rows, Width from, Body&& body) noexcept {
    return guarded([&] {
        const Turn turn(required(session, "session"));
        session->shared->read([&](const Autoencoder& core) {
            if (rows > session->reserve.max_rows) {
                throw Error(ErrorKind::value, "the session was made for " + std::to_string(session->reserve.max_rows) +
                                                  " rows; got " + std::to_string(rows));
            }
            body(core, table(x, rows, (core.*from)(), "X"), &session->reserve);
        });
    });
}

isthmus_status run(isthmus_session* session, const float* x, std::int64_t rows, Run function, Width from, Width to,
                   float* out, std::size_t count) {
    return run(session, x, rows, from, [&](const Autoencoder& core, const Table& in, Reserve* reserve) {
        (core.*function)(in, output(out, count, rows, (core.*to)(), "the output"), reserve);
    });
}

}  // namespace
}  // namespace isthmus::c

using namespace isthmus::c;  // NOLINT: the functions below are of no namespace

isthmus_status isthmus_encode(const isthmus_model* model, const isthmus_rows* x, float* code, size_t count) {
    return run(model, x, &Autoencoder::encode, &Autoencoder::code_size, code, count);
}

isthmus_status isthmus_decode(const isthmus_model* model, const isthmus_rows* code, float* x, size_t count) {
    return run(model, code, &Autoencoder::decode, &Autoencoder::n_features, x, count);
}

isthmus_status isthmus_reconstruct(const isthmus_model* model, const isthmus_rows* x, float* y, size_t count) {
    return run(model, x, &Autoencoder::reconstruct, &Autoencoder::n_features, y, count);
}

isthmus_status isthmus_impute(const isthmus_model* model, const isthmus_rows* x, float* filled, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        impute(core, rows, output(filled, count, rows.rows, core.n_features(), "filled"));
    });
}

isthmus_status isthmus_draw_codes(const isthmus_model* model, const isthmus_rows* x, uint64_t seed, int64_t first_row,
                                  float* code, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        if (first_row < 0) {
            throw Error(ErrorKind::value, "first_row must be at least 0; got " + std::to_string(first_row));
        }
        const Table rows = table(x, "X");
        core.draw_codes(rows, seed, first_row, output(code, count, rows.rows, core.code_size(), "code"));
    });
}

isthmus_status isthmus_sample(const isthmus_model* model, int64_t rows, uint64_t seed, float* x, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        if (rows < 1) throw Error(ErrorKind::value, "rows must be at least 1; got " + std::to_string(rows));
        const MutableMatrixView drawn = output(x, count, rows, core.n_features(), "x");
        const std::int64_t width = core.code_size();
        std::vector<float> code(number_of(rows, width, "rows"));
        core.draw_codes(seed, {code.data(), rows, width, width});
        core.decode(MatrixView{code.data(), rows, width, width}, drawn);
    });
}

isthmus_status isthmus_errors(const isthmus_model* model, const isthmus_rows* x, int32_t units, double* errors,
                              size_t count, float* per_feature, size_t per_feature_count) {
    return reading(model, [&](const Autoencoder& core) {
        if (units != ISTHMUS_SCALED && units != ISTHMUS_INPUT) {
            throw Error(ErrorKind::value, "units must be an isthmus_units; got " + std::to_string(units));
        }
        const Table rows = table(x, "X");
        core.reconstruction_error(rows, output(errors, count, rows.rows, "errors"),
                                  elements(core, rows, per_feature, per_feature_count),
                                  units == ISTHMUS_INPUT ? isthmus::Units::input : isthmus::Units::scaled);
    });
}

isthmus_status isthmus_score_samples(const isthmus_model* model, const isthmus_rows* x, double* scores, size_t count,
                                     float* per_feature, size_t per_feature_count) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        score_samples(core, rows, output(scores, count, rows.rows, "scores"),
                      elements(core, rows, per_feature, per_feature_count), nullptr);
    });
}

isthmus_status isthmus_decision(const isthmus_model* model, const isthmus_rows* x, double* decisions, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        const std::span<double> out = output(decisions, count, rows.rows, "decisions");
        core.anomaly_scores(rows, out, std::nullopt);
        for (double& decision : out) decision -= core.calibration().offset.front();
    });
}

isthmus_status isthmus_p_values(const isthmus_model* model, const isthmus_rows* x, double* p, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        core.p_values(rows, output(p, count, rows.rows, "p"));
    });
}

isthmus_status isthmus_score(const isthmus_model* model, const isthmus_rows* x, const float* sample_weight,
                             size_t sample_weight_count, double* score) {
    return reading(model, [&](const Autoencoder& core) {
        const Table rows = table(x, "X");
        required(score, "score") =
            -core.evaluate({rows, std::nullopt, weights(sample_weight, sample_weight_count, rows.rows)});
    });
}

// ---- sessions -------------------------------------------------------------------------------------------------------

isthmus_status isthmus_session_create(const isthmus_model* model, int64_t max_rows, int32_t n_threads,
                                      isthmus_session** session) {
    return reading(model, [&](const Autoencoder& core) {
        check_given(session, "session");
        // What memory cannot hold is refused by the allocation; this is what 63 bits cannot count.
        constexpr std::int64_t kMost = std::int64_t{1} << 32;
        if (max_rows < 1 || max_rows > kMost) {
            throw Error(ErrorKind::value,
                        "max_rows must be at least 1 and at most 2^32; got " + std::to_string(max_rows));
        }
        if (n_threads < 0) {
            throw Error(ErrorKind::value, "n_threads must be at least 0; got " + std::to_string(n_threads));
        }
        *session = new isthmus_session(model->shared, core.reserve(max_rows, n_threads));
    });
}

void isthmus_session_destroy(isthmus_session* session) { delete session; }

isthmus_status isthmus_session_encode(isthmus_session* session, const float* x, int64_t rows, float* code,
                                      size_t count) {
    return run(session, x, rows, &Autoencoder::encode, &Autoencoder::n_features, &Autoencoder::code_size, code, count);
}

isthmus_status isthmus_session_decode(isthmus_session* session, const float* code, int64_t rows, float* x,
                                      size_t count) {
    return run(session, code, rows, &Autoencoder::decode, &Autoencoder::code_size, &Autoencoder::n_features, x, count);
}

isthmus_status isthmus_session_reconstruct(isthmus_session* session, const float* x, int64_t rows, float* y,
                                           size_t count) {
    return run(session, x, rows, &Autoencoder::reconstruct, &Autoencoder::n_features, &Autoencoder::n_features, y,
               count);
}

isthmus_status isthmus_session_errors(isthmus_session* session, const float* x, int64_t rows, double* errors,
                                      size_t count) {
    return run(session, x, rows, &Autoencoder::n_features,
               [&](const Autoencoder& core, const Table& in, Reserve* reserve) {
                   core.reconstruction_error(in, output(errors, count, rows, "errors"), std::nullopt,
                                             isthmus::Units::scaled, 0, reserve);
               });
}

isthmus_status isthmus_session_score_samples(isthmus_session* session, const float* x, int64_t rows, double* scores,
                                             size_t count) {
    return run(session, x, rows, &Autoencoder::n_features,
               [&](const Autoencoder& core, const Table& in, Reserve* reserve) {
                   score_samples(core, in, output(scores, count, rows, "scores"), std::nullopt, reserve);
               });
}
