// SPDX-License-Identifier: Apache-2.0
// The C++ face of isthmus.h: header-only, C++17, over the C interface alone, so that one library serves every compiler
// and standard library. What the functions mean, and what threads may do, stands in isthmus.h.
//
//     isthmus::Autoencoder model(784, {{"encoder_layers", {128, 32}}, {"loss", "bce"}, {"epochs", 50}});
//     model.fit({data, rows, 784});
//     std::vector<float> codes = model.encode({data, rows, 784});
//     model.save("model.safetensors");
#ifndef ISTHMUS_AUTOENCODER_HPP
#define ISTHMUS_AUTOENCODER_HPP

#include <isthmus/isthmus.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <locale>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace isthmus {
// Named after the interface that it is compiled against: two libraries in one program may have been built with
// different headers.
inline namespace abi1 {

static_assert(ISTHMUS_ABI_VERSION == 1, "this header and isthmus/version.h are of different versions");

// ---- errors: one class for each status, as in Python; out of memory is std::bad_alloc -------------------------------

class Error : public std::runtime_error {
public:
    Error(isthmus_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
    isthmus_status status() const noexcept { return status_; }

private:
    isthmus_status status_;
};

class ValueError : public Error {
public:
    using Error::Error;
};
class TypeError : public Error {
public:
    using Error::Error;
};
class ModelFormatError : public ValueError {
public:
    using ValueError::ValueError;
};
class DivergenceError : public Error {
public:
    using Error::Error;
};
class RuntimeError : public Error {
public:
    using Error::Error;
};
class IoError : public Error {
public:
    IoError(const std::string& message, int code) : Error(ISTHMUS_IO, message), code_(code) {}
    int code() const noexcept { return code_; }  // errno

private:
    int code_;
};

namespace detail {

inline void check(isthmus_status status) {
    if (status == ISTHMUS_OK) return;
    const std::string message = isthmus_last_error();
    switch (status) {
        case ISTHMUS_VALUE: throw ValueError(status, message);
        case ISTHMUS_TYPE: throw TypeError(status, message);
        case ISTHMUS_MODEL_FORMAT: throw ModelFormatError(status, message);
        case ISTHMUS_DIVERGENCE: throw DivergenceError(status, message);
        case ISTHMUS_RUNTIME: throw RuntimeError(status, message);
        case ISTHMUS_IO: throw IoError(message, isthmus_last_errno());
        case ISTHMUS_MEMORY: throw std::bad_alloc();
        default: throw Error(status, message);
    }
}

struct Free {
    void operator()(void* allocated) const noexcept { isthmus_free(allocated); }
};

// What a function gives out as text to be freed.
template <class Get>
std::string text(Get&& get) {
    char* found = nullptr;
    check(get(&found));
    const std::unique_ptr<char, Free> owner(found);
    return found;
}

template <class T>
constexpr std::int32_t type_of() {
    using U = std::remove_cv_t<T>;
    static_assert(std::is_arithmetic_v<U> && !std::is_same_v<U, bool>, "rows hold float, double or integers");
    static_assert(!std::is_floating_point_v<U> || sizeof(U) == 4 || sizeof(U) == 8, "rows hold no long double");
    if constexpr (std::is_floating_point_v<U>) {
        return sizeof(U) == 4 ? ISTHMUS_FLOAT32 : ISTHMUS_FLOAT64;
    } else {
        constexpr int kLog = sizeof(U) == 1 ? 0 : sizeof(U) == 2 ? 1 : sizeof(U) == 4 ? 2 : 3;
        return (std::is_signed_v<U> ? ISTHMUS_INT8 : ISTHMUS_UINT8) + kLog;
    }
}

}  // namespace detail

// ---- what goes in and out ------------------------------------------------------------------------------------------

// Contiguous numbers that stay their owner's: a std::vector, std::array, std::span, or pointer and size.
template <class T>
class View {
public:
    View(T* data, std::size_t size) : data_(data), size_(size) {}
    template <class Container,
              class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Container&>().data()), T*> &&
                                       std::is_convertible_v<decltype(std::declval<Container&>().size()), std::size_t>>>
    View(Container&& container) : data_(container.data()), size_(container.size()) {}

    T* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    T* data_;
    std::size_t size_;
};

// A table of numbers of any type and strides.
class Rows {
public:
    template <class T>
    Rows(const T* data, std::int64_t rows, std::int64_t cols, std::int64_t row_bytes = 0, std::int64_t col_bytes = 0)
        : rows_{data, rows, cols, row_bytes, col_bytes, detail::type_of<T>(), 0} {}

    std::int64_t rows() const { return rows_.rows; }
    std::int64_t cols() const { return rows_.cols; }
    const isthmus_rows* get() const { return &rows_; }

private:
    isthmus_rows rows_;
};

// The parameters of Python's constructors by name, and "kind". Which there are, and what they may be, the library says.
class Parameters {
public:
    class Value {
    public:
        Value(std::nullptr_t) : text_("null") {}
        Value(bool value) : text_(value ? "true" : "false") {}
        Value(const char* value) : text_(quoted(value)) {}
        Value(const std::string& value) : text_(quoted(value)) {}
        template <class T, class = std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, bool>>>
        Value(T value) : text_(number(value)) {}
        Value(std::initializer_list<std::int64_t> widths) : text_(list(widths)) {}
        Value(const std::vector<std::int64_t>& widths) : text_(list(widths)) {}

        const std::string& text() const { return text_; }

    private:
        friend class Parameters;
        template <class T>
        static std::string number(T value) {
            std::ostringstream stream;
            stream.imbue(std::locale::classic());
            stream.precision(17);
            stream << +value;  // a char is a number
            return stream.str();
        }
        template <class Widths>
        static std::string list(const Widths& widths) {
            std::string text = "[";
            for (const std::int64_t width : widths) text += (text.size() > 1 ? ", " : "") + number(width);
            return text + "]";
        }
        static std::string quoted(const std::string& value) {
            static const char* const kDigits = "0123456789abcdef";
            std::string text = "\"";
            for (const char c : value) {
                const auto code = static_cast<unsigned char>(c);
                if (c == '"' || c == '\\') text += '\\';
                if (code >= 0x20) {
                    text += c;
                } else {
                    text += std::string("\\u00") + kDigits[code >> 4] + kDigits[code & 15];
                }
            }
            return text + "\"";
        }

        std::string text_;
    };
    struct Parameter {
        std::string name;
        Value value;
    };

    Parameters() = default;
    Parameters(std::initializer_list<Parameter> parameters) {
        for (const Parameter& parameter : parameters) set(parameter.name, parameter.value);
    }
    Parameters& set(const std::string& name, const Value& value) {
        members_ += (members_.empty() ? "" : ", ") + Value::quoted(name) + ": " + value.text();
        return *this;
    }
    std::string json() const { return "{" + members_ + "}"; }

private:
    std::string members_;
};

// Where a model runs.
struct Placement {
    std::string device = "auto";
    std::int32_t n_threads = 0;
};

using Epoch = isthmus_epoch;
using Info = isthmus_info;

struct FitOptions {
    std::optional<View<const float>> sample_weight = std::nullopt;
    std::optional<Rows> validation = std::nullopt;
    std::optional<Rows> validation_targets = std::nullopt;
    // Either returns true to stop. What they throw stops too, and comes out of fit.
    std::function<bool(const Epoch&)> on_epoch_end = nullptr;
    std::function<bool()> should_stop = nullptr;
    double max_seconds = 0.0;     // 0: no limit
    std::int64_t max_memory = 0;  // bytes; 0: no limit
    std::string checkpoint = {};  // a folder for checkpoints; empty: none
    std::int64_t checkpoint_every = 1;
    bool resume = false;  // goes on with the fit that load_checkpoint's model is in
};

// ---- sessions ------------------------------------------------------------------------------------------------------

// Calls that allocate nothing, on at most as many rows as the session was made for. For one thread at a time; it may
// outlive its model.
class Session {
public:
    void encode(View<const float> x, View<float> code) {
        detail::check(isthmus_session_encode(get(), x.data(), rows(x, n_features_), code.data(), code.size()));
    }
    void decode(View<const float> code, View<float> x) {
        detail::check(isthmus_session_decode(get(), code.data(), rows(code, code_size_), x.data(), x.size()));
    }
    void reconstruct(View<const float> x, View<float> y) {
        detail::check(isthmus_session_reconstruct(get(), x.data(), rows(x, n_features_), y.data(), y.size()));
    }
    void errors(View<const float> x, View<double> errors) {
        detail::check(isthmus_session_errors(get(), x.data(), rows(x, n_features_), errors.data(), errors.size()));
    }
    void score_samples(View<const float> x, View<double> scores) {
        detail::check(
            isthmus_session_score_samples(get(), x.data(), rows(x, n_features_), scores.data(), scores.size()));
    }

    isthmus_session* get() const { return handle_.get(); }

private:
    friend class Autoencoder;
    struct Destroy {
        void operator()(isthmus_session* session) const noexcept { isthmus_session_destroy(session); }
    };

    Session(isthmus_session* handle, const Info& info)
        : handle_(handle), n_features_(info.n_features), code_size_(info.code_size) {}

    static std::int64_t rows(View<const float> values, std::int64_t width) {
        const auto size = static_cast<std::int64_t>(values.size());
        if (size % width != 0) throw ValueError(ISTHMUS_VALUE, "the numbers given are no whole number of rows");
        return size / width;
    }

    std::unique_ptr<isthmus_session, Destroy> handle_;
    std::int64_t n_features_;
    std::int64_t code_size_;
};

// ---- models --------------------------------------------------------------------------------------------------------

class Autoencoder {
public:
    // Initial weights for rows of n_features numbers.
    explicit Autoencoder(std::int64_t n_features, const Parameters& parameters = {}, const Placement& placement = {})
        : Autoencoder(made([&](isthmus_model** model) {
              const isthmus_placement where = to_c(placement);
              return isthmus_create(n_features, parameters.json().c_str(), &where, model);
          })) {}

    static Autoencoder load(const std::string& path, const Placement& placement = {}) {
        return Autoencoder(made([&](isthmus_model** model) {
            const isthmus_placement where = to_c(placement);
            return isthmus_load(path.c_str(), &where, model);
        }));
    }
    static Autoencoder load_checkpoint(const std::string& path, const Placement& placement = {}) {
        return Autoencoder(made([&](isthmus_model** model) {
            const isthmus_placement where = to_c(placement);
            return isthmus_load_checkpoint(path.c_str(), &where, model);
        }));
    }
    static Autoencoder from_bytes(const std::string& bytes, const Placement& placement = {}) {
        return Autoencoder(made([&](isthmus_model** model) {
            const isthmus_placement where = to_c(placement);
            return isthmus_from_bytes(bytes.data(), bytes.size(), &where, model);
        }));
    }

    void save(const std::string& path, bool training_state = false) const {
        detail::check(isthmus_save(get(), path.c_str(), training_state ? 1 : 0));
    }
    std::string to_bytes(bool training_state = false) const {
        void* bytes = nullptr;
        std::size_t size = 0;
        detail::check(isthmus_to_bytes(get(), training_state ? 1 : 0, &bytes, &size));
        const std::unique_ptr<void, detail::Free> owner(bytes);
        return {static_cast<const char*>(bytes), size};
    }

    // ---- weights: flat, as isthmus_get_weights says; names: one for each feature, or none

    std::vector<isthmus_shape> weight_shapes() const {
        std::size_t count = 0;
        detail::check(isthmus_get_weight_shapes(get(), nullptr, 0, &count));
        std::vector<isthmus_shape> shapes(count);
        detail::check(isthmus_get_weight_shapes(get(), shapes.data(), shapes.size(), &count));
        return shapes;
    }
    std::vector<float> weights() const {
        std::size_t count = 0;
        for (const isthmus_shape& shape : weight_shapes()) count += numbers(shape.rows, shape.cols);
        std::vector<float> values(count);
        detail::check(isthmus_get_weights(get(), values.data(), values.size()));
        return values;
    }
    void set_weights(View<const float> weights) {
        detail::check(isthmus_set_weights(get(), weights.data(), weights.size()));
    }
    std::vector<std::string> feature_names() const {
        char** names = nullptr;
        std::size_t count = 0;
        detail::check(isthmus_get_feature_names(get(), &names, &count));
        const std::unique_ptr<char*, detail::Free> owner(names);
        return {names, names + count};
    }
    void set_feature_names(const std::vector<std::string>& names) {
        std::vector<const char*> given;
        for (const std::string& name : names) given.push_back(name.c_str());
        detail::check(isthmus_set_feature_names(get(), given.data(), given.size()));
    }

    // ---- training

    isthmus_end fit(const Rows& x, const FitOptions& options = {}) {
        Callbacks callbacks{options, nullptr};
        isthmus_fit_options given{};
        given.struct_size = sizeof(given);
        if (options.sample_weight) {
            given.sample_weight = options.sample_weight->data();
            given.sample_weight_count = options.sample_weight->size();
        }
        if (options.validation) given.validation = options.validation->get();
        if (options.validation_targets) given.validation_targets = options.validation_targets->get();
        if (options.on_epoch_end) given.on_epoch_end = &Callbacks::on_epoch_end;
        if (options.should_stop) given.should_stop = &Callbacks::should_stop;
        given.user = &callbacks;
        given.max_seconds = options.max_seconds;
        given.max_memory = options.max_memory;
        given.checkpoint = options.checkpoint.empty() ? nullptr : options.checkpoint.c_str();
        given.checkpoint_every = options.checkpoint_every;
        given.resume = options.resume ? 1 : 0;
        std::int32_t end = ISTHMUS_EPOCHS_DONE;
        const isthmus_status status = isthmus_fit(get(), x.get(), &given, &end);
        if (callbacks.thrown) std::rethrow_exception(callbacks.thrown);
        detail::check(status);
        return static_cast<isthmus_end>(end);
    }
    void partial_fit(const Rows& x, std::optional<View<const float>> sample_weight = std::nullopt) {
        detail::check(isthmus_partial_fit(get(), x.get(), sample_weight ? sample_weight->data() : nullptr,
                                          sample_weight ? sample_weight->size() : 0));
    }
    void configure(const Parameters& parameters) { detail::check(isthmus_configure(get(), parameters.json().c_str())); }

    // ---- rows through the model: into memory of the caller's, or into a vector

    void encode(const Rows& x, View<float> code) const {
        detail::check(isthmus_encode(get(), x.get(), code.data(), code.size()));
    }
    void decode(const Rows& code, View<float> x) const {
        detail::check(isthmus_decode(get(), code.get(), x.data(), x.size()));
    }
    void reconstruct(const Rows& x, View<float> y) const {
        detail::check(isthmus_reconstruct(get(), x.get(), y.data(), y.size()));
    }
    std::vector<float> encode(const Rows& x) const {
        std::vector<float> code(numbers(x.rows(), code_size()));
        encode(x, code);
        return code;
    }
    std::vector<float> decode(const Rows& code) const {
        std::vector<float> x(numbers(code.rows(), n_features()));
        decode(code, x);
        return x;
    }
    std::vector<float> reconstruct(const Rows& x) const {
        std::vector<float> y(numbers(x.rows(), n_features()));
        reconstruct(x, y);
        return y;
    }

    // With missing="mask": x with the reconstruction where it is NaN.
    std::vector<float> impute(const Rows& x) const {
        std::vector<float> filled(numbers(x.rows(), n_features()));
        detail::check(isthmus_impute(get(), x.get(), filled.data(), filled.size()));
        return filled;
    }
    // Of a variational autoencoder.
    std::vector<float> draw_codes(const Rows& x, std::uint64_t seed, std::int64_t first_row = 0) const {
        std::vector<float> code(numbers(x.rows(), code_size()));
        detail::check(isthmus_draw_codes(get(), x.get(), seed, first_row, code.data(), code.size()));
        return code;
    }
    std::vector<float> sample(std::int64_t rows, std::uint64_t seed) const {
        std::vector<float> x(numbers(rows, n_features()));
        detail::check(isthmus_sample(get(), rows, seed, x.data(), x.size()));
        return x;
    }

    std::vector<double> errors(const Rows& x, isthmus_units units = ISTHMUS_SCALED) const {
        std::vector<double> found(numbers(x.rows(), 1));
        detail::check(isthmus_errors(get(), x.get(), units, found.data(), found.size(), nullptr, 0));
        return found;
    }
    std::vector<double> score_samples(const Rows& x) const {
        std::vector<double> found(numbers(x.rows(), 1));
        detail::check(isthmus_score_samples(get(), x.get(), found.data(), found.size(), nullptr, 0));
        return found;
    }
    std::vector<double> decision(const Rows& x) const {
        std::vector<double> found(numbers(x.rows(), 1));
        detail::check(isthmus_decision(get(), x.get(), found.data(), found.size()));
        return found;
    }
    std::vector<double> p_values(const Rows& x) const {
        std::vector<double> found(numbers(x.rows(), 1));
        detail::check(isthmus_p_values(get(), x.get(), found.data(), found.size()));
        return found;
    }
    double score(const Rows& x, std::optional<View<const float>> sample_weight = std::nullopt) const {
        double found = 0.0;
        detail::check(isthmus_score(get(), x.get(), sample_weight ? sample_weight->data() : nullptr,
                                    sample_weight ? sample_weight->size() : 0, &found));
        return found;
    }

    Session session(std::int64_t max_rows, std::int32_t n_threads = 1) const {
        isthmus_session* handle = nullptr;
        const Info known = info();
        detail::check(isthmus_session_create(get(), max_rows, n_threads, &handle));
        return {handle, known};
    }

    // ---- what it is

    Info info() const {
        Info found{};
        found.struct_size = sizeof(found);
        detail::check(isthmus_get_info(get(), &found));
        return found;
    }
    std::int64_t n_features() const { return info().n_features; }
    std::int64_t code_size() const { return info().code_size; }
    std::string parameters() const {  // JSON
        return detail::text([&](char** text) { return isthmus_get_parameters(get(), text); });
    }
    std::string device() const {
        return detail::text([&](char** text) { return isthmus_get_device(get(), text); });
    }
    std::vector<double> history(isthmus_series series) const {
        std::size_t count = 0;
        detail::check(isthmus_get_history(get(), series, nullptr, 0, &count));
        std::vector<double> values(count);
        if (count > 0) detail::check(isthmus_get_history(get(), series, values.data(), values.size(), &count));
        return values;
    }

    isthmus_model* get() const { return handle_.get(); }

private:
    struct Destroy {
        void operator()(isthmus_model* model) const noexcept { isthmus_destroy(model); }
    };
    using Handle = std::unique_ptr<isthmus_model, Destroy>;

    struct Callbacks {
        const FitOptions& options;
        std::exception_ptr thrown;

        template <class Ask>
        int asked(Ask&& ask) noexcept {  // no exception may pass through C
            try {
                return ask() ? 1 : 0;
            } catch (...) {
                thrown = std::current_exception();
                return 1;
            }
        }
        static int on_epoch_end(void* user, const Epoch* epoch) {
            auto* const self = static_cast<Callbacks*>(user);
            return self->asked([&] { return self->options.on_epoch_end(*epoch); });
        }
        static int should_stop(void* user) {
            auto* const self = static_cast<Callbacks*>(user);
            return self->asked([&] { return self->options.should_stop(); });
        }
    };

    explicit Autoencoder(Handle handle) : handle_(std::move(handle)) {}

    template <class Make>
    static Handle made(Make&& make) {
        isthmus_model* model = nullptr;
        detail::check(make(&model));
        return Handle(model);
    }
    static isthmus_placement to_c(const Placement& placement) {
        isthmus_placement given{};
        given.struct_size = sizeof(given);
        given.device = placement.device.c_str();
        given.n_threads = placement.n_threads;
        return given;
    }
    // Of an output; the library says what is wrong with a number of rows that is none.
    static std::size_t numbers(std::int64_t rows, std::int64_t cols) {
        return rows > 0 ? static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols) : 0;
    }

    Handle handle_;
};

}  // namespace abi1
}  // namespace isthmus

#endif
