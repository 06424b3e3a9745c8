/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C interface of isthmus: autoencoders on dense layers, trained, stored and run. C99; the only symbols that
 * libisthmus.so exports. isthmus/autoencoder.hpp is its face for C++.
 *
 * Every function that can fail returns a status, and isthmus_last_error() says in a sentence why. None throws, aborts
 * or prints. A null pointer that is not allowed, a size that does not fit and a struct of a later version are
 * ISTHMUS_VALUE, and nothing is changed. An output is only meaningful after ISTHMUS_OK.
 *
 * Binary interface: models and sessions are opaque. A struct with a member struct_size begins with it; set it to
 * sizeof the struct, and all that is left out to zero, which is the default everywhere. Later versions add members at
 * the end and enumerators, functions; ISTHMUS_ABI_VERSION changes when more than that does.
 *
 * Threads: any number of threads may call any functions at once. Those that take a const isthmus_model run at the same
 * time; those that change a model wait for the others and then have it to themselves. While a model is trained, a
 * reader waits for the end of the epoch. Only two things are the caller's: not to use what another thread destroys, and
 * a session belongs to one thread at a time.
 *
 * Floating point: every call gives what it gives in the default mode, whatever rounding and handling of denormals the
 * caller has set, and leaves mode and flags as they were. A callback runs in the default mode.
 */
#ifndef ISTHMUS_ISTHMUS_H
#define ISTHMUS_ISTHMUS_H

#include <isthmus/version.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ISTHMUS_API __attribute__((visibility("default")))
#else
#define ISTHMUS_API
#endif

/* ---- status ----------------------------------------------------------------------------------------------------- */

typedef enum isthmus_status {
    ISTHMUS_OK = 0,
    ISTHMUS_VALUE = 1,        /* an argument that is not allowed; the sentence names it, row and column too */
    ISTHMUS_TYPE = 2,         /* a parameter of the wrong type */
    ISTHMUS_MODEL_FORMAT = 3, /* a model file that isthmus did not write, or that was changed since */
    ISTHMUS_DIVERGENCE = 4,   /* the loss is no longer finite; the model has its last finite weights */
    ISTHMUS_MEMORY = 5,       /* out of memory */
    ISTHMUS_IO = 6,           /* a file; isthmus_last_errno() has the system's number */
    ISTHMUS_RUNTIME = 7,      /* a device that is not here or cannot do this; a call at the wrong time */
    ISTHMUS_INTERNAL = 8      /* an error that isthmus did not expect: a bug */
} isthmus_status;

/* Why this thread's last call that failed did, in UTF-8 (a path comes as it was given); "" before the first. Valid
   until the thread's next call. At most 2,047 bytes. */
ISTHMUS_API const char* isthmus_last_error(void);
/* errno of it after ISTHMUS_IO, else 0. */
ISTHMUS_API int isthmus_last_errno(void);

/* Of the library that runs, as ISTHMUS_VERSION and ISTHMUS_ABI_VERSION are of the one compiled against. */
ISTHMUS_API const char* isthmus_version(void);
ISTHMUS_API int isthmus_abi_version(void);

/* Frees what a function of this interface allocated for its caller. NULL is allowed. */
ISTHMUS_API void isthmus_free(void* allocated);

/* ---- rows ------------------------------------------------------------------------------------------------------- */

typedef enum isthmus_type {
    ISTHMUS_FLOAT32 = 0,
    ISTHMUS_FLOAT64 = 1,
    ISTHMUS_INT8 = 2,
    ISTHMUS_INT16 = 3,
    ISTHMUS_INT32 = 4,
    ISTHMUS_INT64 = 5,
    ISTHMUS_UINT8 = 6,
    ISTHMUS_UINT16 = 7,
    ISTHMUS_UINT32 = 8,
    ISTHMUS_UINT64 = 9
} isthmus_type;

/* A table of numbers that stays its caller's. float32 with contiguous rows is read in place; all else is converted, a
   block at a time. */
typedef struct isthmus_rows {
    const void* data;
    int64_t rows;
    int64_t cols;
    int64_t row_bytes; /* from one row to the next; 0: they follow one another */
    int64_t col_bytes; /* from one column to the next; 0: they follow one another */
    int32_t type;      /* an isthmus_type */
    int32_t reserved;  /* 0 */
} isthmus_rows;

/* ---- models ----------------------------------------------------------------------------------------------------- */

typedef struct isthmus_model isthmus_model;

/* Where a model runs; no file says so. NULL, or all zero: device "auto", as many threads as machine and environment
   allow. */
typedef struct isthmus_placement {
    size_t struct_size;
    const char* device; /* "cpu", "cuda", "cuda:N"; NULL and "auto": the first GPU if there is one, else the CPU */
    int32_t n_threads;  /* never changes a result; 0: as many as there are */
    int32_t reserved;   /* 0 */
} isthmus_placement;

/* A model for rows of n_features numbers, with initial weights. `parameters` is a JSON object of the parameters of
   Python's constructors but device, n_threads, max_seconds and max_memory, and of "kind", "autoencoder",
   "anomaly_detector" or "variational_autoencoder" (whose code is the mean; isthmus_draw_codes draws):

       {"encoder_layers": [128, 32], "loss": "bce", "epochs": 50, "random_state": 0}

   What is left out has Python's default; NULL leaves out all. A random_state of null draws a fresh seed. */
ISTHMUS_API isthmus_status isthmus_create(int64_t n_features, const char* parameters,
                                          const isthmus_placement* placement, isthmus_model** model);
/* NULL is allowed. Sessions of the model go on. */
ISTHMUS_API void isthmus_destroy(isthmus_model* model);

/* The whole configuration that these parameters make, as JSON, to be freed: what isthmus_create takes and refuses, and
   every default. */
ISTHMUS_API isthmus_status isthmus_check_parameters(const char* parameters, char** configuration);
/* That of a model. */
ISTHMUS_API isthmus_status isthmus_get_parameters(const isthmus_model* model, char** configuration);
/* New training parameters, in place of all: ISTHMUS_VALUE when the network would change. */
ISTHMUS_API isthmus_status isthmus_configure(isthmus_model* model, const char* parameters);

typedef struct isthmus_info {
    size_t struct_size; /* set by the caller */
    int64_t n_features;
    int64_t code_size;
    int64_t epochs;    /* done */
    int64_t steps;     /* of the optimizer, since its moments began */
    double loss;       /* of the last epoch; NaN before the first step */
    double offset;     /* of a detector that was trained, else NaN: rows that score below it are anomalies */
    int32_t n_threads; /* as it was placed: 0 is as many as there are */
    int32_t reserved;
} isthmus_info;

ISTHMUS_API isthmus_status isthmus_get_info(const isthmus_model* model, isthmus_info* info);
/* What device the model is on, "cpu" or "cuda:0", to be freed. */
ISTHMUS_API isthmus_status isthmus_get_device(const isthmus_model* model, char** name);
/* What a device is called that is asked for as `device`, to be freed; ISTHMUS_RUNTIME says why there is none. */
ISTHMUS_API isthmus_status isthmus_find_device(const char* device, char** name);

typedef enum isthmus_series {
    ISTHMUS_HISTORY_LOSS = 0,
    ISTHMUS_HISTORY_VAL_LOSS = 1, /* empty without validation */
    ISTHMUS_HISTORY_LEARNING_RATE = 2,
    ISTHMUS_HISTORY_SECONDS = 3,
    ISTHMUS_HISTORY_PENALTY = 4 /* of code_l1, or the divergence of a variational autoencoder; empty without */
} isthmus_series;

/* One number an epoch; `series` is an isthmus_series. *count says how many there are; `values`, which has room for
   `capacity`, may be NULL to ask for that alone. */
ISTHMUS_API isthmus_status isthmus_get_history(const isthmus_model* model, int32_t series, double* values,
                                               size_t capacity, size_t* count);

/* ---- weights and names ------------------------------------------------------------------------------------------- */

typedef struct isthmus_shape {
    int64_t rows;
    int64_t cols;
} isthmus_shape;

/* What is stored, each once, in the order of Python's get_weights: of each layer the weight (out, in), y = act(x w^T +
   b), and the bias, here (out, 1). With tied_weights a decoder's layer has a bias alone, and a variational
   autoencoder's last layer before the code gives 2 code_size numbers: means, and logarithms of variances. *count says
   how many there are; `shapes`, which has room for `capacity`, may be NULL to ask for that alone. */
ISTHMUS_API isthmus_status isthmus_get_weight_shapes(const isthmus_model* model, isthmus_shape* shapes, size_t capacity,
                                                     size_t* count);
/* All of them, one after another, row after row; `count` is the sum of rows times cols. */
ISTHMUS_API isthmus_status isthmus_get_weights(const isthmus_model* model, float* weights, size_t count);
/* New ones, which must be finite; the optimizer's moments begin anew, and a detector is to be trained again. */
ISTHMUS_API isthmus_status isthmus_set_weights(isthmus_model* model, const float* weights, size_t count);

/* The features' names, in UTF-8, which model files keep: Python's feature_names_in_. They are for whoever reads them;
   rows have none here. *count is n_features, or 0 and *names NULL where there are none; *names, with all it points to,
   is one allocation to be freed. */
ISTHMUS_API isthmus_status isthmus_get_feature_names(const isthmus_model* model, char*** names, size_t* count);
/* `count` is n_features, or 0 for none. */
ISTHMUS_API isthmus_status isthmus_set_feature_names(isthmus_model* model, const char* const* names, size_t count);

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* The model file of Python's save and load. It is written whole or not at all; training_state other than 0 adds what
   further training needs to go on as if it had not stopped. */
ISTHMUS_API isthmus_status isthmus_save(const isthmus_model* model, const char* path, int training_state);
ISTHMUS_API isthmus_status isthmus_load(const char* path, const isthmus_placement* placement, isthmus_model** model);
/* The newest checkpoint of a folder that can be used, or a checkpoint's file, for isthmus_fit to resume. */
ISTHMUS_API isthmus_status isthmus_load_checkpoint(const char* path, const isthmus_placement* placement,
                                                   isthmus_model** model);
/* The contents of such a file; `bytes` is to be freed. */
ISTHMUS_API isthmus_status isthmus_to_bytes(const isthmus_model* model, int training_state, void** bytes, size_t* size);
ISTHMUS_API isthmus_status isthmus_from_bytes(const void* bytes, size_t size, const isthmus_placement* placement,
                                              isthmus_model** model);

/* ---- training --------------------------------------------------------------------------------------------------- */

typedef struct isthmus_epoch {
    size_t struct_size; /* set by the library */
    int64_t epoch;      /* just done, from 1, over the model's whole life */
    int64_t n_epochs;   /* this fit goes to */
    double loss;
    double val_loss; /* NaN without validation */
    double learning_rate;
    double seconds;
} isthmus_epoch;

typedef enum isthmus_end {
    ISTHMUS_EPOCHS_DONE = 0,
    ISTHMUS_EARLY = 1,      /* patience */
    ISTHMUS_STOPPED = 2,    /* by on_epoch_end or should_stop */
    ISTHMUS_OUT_OF_TIME = 3 /* max_seconds */
} isthmus_end;

typedef struct isthmus_fit_options {
    size_t struct_size;
    const float* sample_weight; /* of each row's error; not negative, not all 0; NULL: 1 each */
    size_t sample_weight_count; /* as many as rows */
    const isthmus_rows* validation;
    const isthmus_rows* validation_targets; /* what their reconstruction is compared with, instead of themselves */
    /* After each epoch, on the thread that called fit; other than 0 stops. The model may be read in it. Must return. */
    int (*on_epoch_end)(void* user, const isthmus_epoch* epoch);
    /* Between two steps, likewise; the model must not be used in it. */
    int (*should_stop)(void* user);
    void* user;
    double max_seconds;       /* after which it ends, trained; 0: never */
    int64_t max_memory;       /* bytes that training may take; ISTHMUS_MEMORY when it needs more; 0: no limit */
    const char* checkpoint;   /* a folder for checkpoints, as in Python's fit; NULL: none */
    int64_t checkpoint_every; /* epochs; 0: 1 */
    int32_t resume;           /* other than 0: goes on with the fit that isthmus_load_checkpoint's model is in */
    int32_t reserved;         /* 0 */
} isthmus_fit_options;

/* Trains for `epochs` more epochs from the model's weights and moments as they are: a fresh model as Python's fit does,
   another as with warm_start. `options` and `end`, which takes an isthmus_end, may be NULL. However it ends, the
   weights are those of the last completed step, or what restore_best says. */
ISTHMUS_API isthmus_status isthmus_fit(isthmus_model* model, const isthmus_rows* x, const isthmus_fit_options* options,
                                       int32_t* end);
/* One pass over the rows in their order, in slices of batch_size. */
ISTHMUS_API isthmus_status isthmus_partial_fit(isthmus_model* model, const isthmus_rows* x, const float* sample_weight,
                                               size_t sample_weight_count);

/* ---- rows through a model --------------------------------------------------------------------------------------- */
/* x has n_features columns, and its values are finite; with the parameter "missing" of "mask" a NaN is a value that is
   missing. An output is contiguous, row after row, and its count says how many numbers it has room for: as many as
   there are, neither more nor less. It must not lie where an input does. */

ISTHMUS_API isthmus_status isthmus_encode(const isthmus_model* model, const isthmus_rows* x, float* code, size_t count);
ISTHMUS_API isthmus_status isthmus_decode(const isthmus_model* model, const isthmus_rows* code, float* x, size_t count);
ISTHMUS_API isthmus_status isthmus_reconstruct(const isthmus_model* model, const isthmus_rows* x, float* y,
                                               size_t count);

/* Of a model with missing="mask": x (rows, n_features) as float32 and, where it is NaN, the reconstruction. */
ISTHMUS_API isthmus_status isthmus_impute(const isthmus_model* model, const isthmus_rows* x, float* filled,
                                          size_t count);

/* Of a variational autoencoder; else ISTHMUS_RUNTIME. Codes drawn from the distributions of x's rows, N(mean,
   exp(log variance)): that of row r depends on the seed and on first_row + r alone, so that rows may come in parts.
   Python's encode(sample=True) with random_state=seed. */
ISTHMUS_API isthmus_status isthmus_draw_codes(const isthmus_model* model, const isthmus_rows* x, uint64_t seed,
                                              int64_t first_row, float* code, size_t count);
/* New rows (rows, n_features): codes drawn from N(0, 1), decoded. Python's sample(rows) with random_state=seed. */
ISTHMUS_API isthmus_status isthmus_sample(const isthmus_model* model, int64_t rows, uint64_t seed, float* x,
                                          size_t count);

typedef enum isthmus_units {
    ISTHMUS_SCALED = 0, /* after `scaling`, as the loss is */
    ISTHMUS_INPUT = 1   /* of the differences in the units of x; not with the loss bce */
} isthmus_units;

/* Each row's error, the mean of its loss over the features that it has, NaN where it has none; `units` is an
   isthmus_units; per_feature (rows x n_features), which may be NULL, takes each element's, NaN for one missing. */
ISTHMUS_API isthmus_status isthmus_errors(const isthmus_model* model, const isthmus_rows* x, int32_t units,
                                          double* errors, size_t count, float* per_feature, size_t per_feature_count);
/* How normal each row is: the negative error, of a detector the negative mean of what per_feature takes: each feature's
   error, 1 being usual. per_feature may be NULL. */
ISTHMUS_API isthmus_status isthmus_score_samples(const isthmus_model* model, const isthmus_rows* x, double* scores,
                                                 size_t count, float* per_feature, size_t per_feature_count);
/* Of a detector: the scores minus the offset. Below 0 is an anomaly. */
ISTHMUS_API isthmus_status isthmus_decision(const isthmus_model* model, const isthmus_rows* x, double* decisions,
                                            size_t count);
/* Of a detector that held rows back (calibration_fraction): how rare a score as low as each row's is. */
ISTHMUS_API isthmus_status isthmus_p_values(const isthmus_model* model, const isthmus_rows* x, double* p, size_t count);
/* The negative loss over all rows. sample_weight may be NULL. */
ISTHMUS_API isthmus_status isthmus_score(const isthmus_model* model, const isthmus_rows* x, const float* sample_weight,
                                         size_t sample_weight_count, double* score);

/* ---- sessions: latency ------------------------------------------------------------------------------------------ */

/* Memory for calls of at most max_rows rows, all of it taken when the session is made: on the CPU its calls allocate
   nothing, unless they fail. It gives the bits of the functions above, and sees the model as it is at each call. */
typedef struct isthmus_session isthmus_session;

/* n_threads 1 computes on the calling thread; 0 is as many as there are. */
ISTHMUS_API isthmus_status isthmus_session_create(const isthmus_model* model, int64_t max_rows, int32_t n_threads,
                                                  isthmus_session** session);
/* NULL is allowed. */
ISTHMUS_API void isthmus_session_destroy(isthmus_session* session);

/* Rows are contiguous float32, row after row; counts as above. */
ISTHMUS_API isthmus_status isthmus_session_encode(isthmus_session* session, const float* x, int64_t rows, float* code,
                                                  size_t count);
ISTHMUS_API isthmus_status isthmus_session_decode(isthmus_session* session, const float* code, int64_t rows, float* x,
                                                  size_t count);
ISTHMUS_API isthmus_status isthmus_session_reconstruct(isthmus_session* session, const float* x, int64_t rows, float* y,
                                                       size_t count);
ISTHMUS_API isthmus_status isthmus_session_errors(isthmus_session* session, const float* x, int64_t rows,
                                                  double* errors, size_t count);
ISTHMUS_API isthmus_status isthmus_session_score_samples(isthmus_session* session, const float* x, int64_t rows,
                                                         double* scores, size_t count);

#ifdef __cplusplus
}
#endif

#endif
