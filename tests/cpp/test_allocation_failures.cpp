// SPDX-License-Identifier: Apache-2.0
// Every allocation of a fit, of inference, of a save and of a load fails once: the caller gets std::bad_alloc, nothing
// leaks, and the model is whole: it encodes, is stored, and trains on to where it would have come anyway.
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/file.hpp"
#include "counts.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

std::atomic<std::int64_t> until_failure{-1};  // never
std::atomic<std::int64_t> living{0};

bool fails() { return until_failure.load() >= 0 && until_failure.fetch_sub(1) == 0; }

void* counted_memory(void* memory) {
    if (memory == nullptr) throw std::bad_alloc();
    ++living;
    return memory;
}

void free_counted(void* memory) {
    if (memory != nullptr) --living;
    std::free(memory);
}

}  // namespace

// Not inlined: gcc would take new and free for a mismatched pair. The array forms call these.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (fails()) throw std::bad_alloc();
    return counted_memory(std::malloc(size));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    if (fails()) throw std::bad_alloc();
    return counted_memory(::memalign(static_cast<std::size_t>(alignment), size));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { free_counted(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { free_counted(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { free_counted(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { free_counted(memory); }
// The buffers of the CPU device.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    return fails() ? nullptr : ::memalign(alignment, size);
}

namespace {

struct Work {
    Configuration configuration;
    std::int64_t n_features;
    std::int64_t n_rows;
    int n_threads;
    bool sparse = false;
};

// Every third value of the rows, in CSR.
struct SparseRows {
    explicit SparseRows(const Rows& rows) : cols(rows.view().cols) {
        for (std::int64_t r = 0; r < rows.view().rows; ++r) {
            for (std::int64_t c = r % 3; c < cols; c += 3) {
                columns.push_back(static_cast<std::int32_t>(c));
                values.push_back(rows.view().row(r)[c]);
            }
            offsets.push_back(static_cast<std::int32_t>(columns.size()));
        }
    }

    Samples samples() const {
        Table table(values.data(), Number::f32, static_cast<std::int64_t>(offsets.size()) - 1, cols, 4, 4);
        table.csr = CsrIndex{offsets.data(), columns.data(), false, false, static_cast<std::int64_t>(values.size())};
        return {table, std::nullopt, nullptr};
    }

    std::int64_t cols;
    std::vector<std::int32_t> offsets{0}, columns;
    std::vector<float> values;
};

// Small; with everything that is kept beside the weights; large enough for two threads and for rows that are fetched
// ahead; sparse and corrupted.
std::vector<Work> works() {
    Configuration small = small_configuration();
    small.epochs = 2;
    Configuration full = small;
    full.scaling = ScalingKind::standard;
    full.validation_fraction = 0.25;
    full.patience = 5;
    full.clip_norm = 1.0;
    full.input_noise = 0.1;
    full.learning_rate_schedule = Schedule::plateau;
    Configuration wide = small;
    wide.encoder_layers = {96, 8};
    wide.batch_size = 256;
    Configuration detector = full;
    detector.kind = ModelKind::anomaly_detector;
    Configuration corrupted = wide;
    corrupted.input_noise = 0.1;
    return {
        {small, 5, 40, 1}, {full, 5, 40, 1}, {detector, 5, 60, 1}, {wide, 64, 4200, 2}, {corrupted, 64, 512, 2, true}};
}

CompileOptions options_of(const Work& work) {
    CompileOptions options;
    options.n_threads = work.n_threads;
    return options;
}

// Body with its n-th allocation failing, for n from 0 until there are no more of them. `after` sees what is left.
template <class Prepare, class Body, class After>
std::size_t fail_each(Prepare&& prepare, Body&& body, After&& after) {
    for (std::size_t n = 0;; ++n) {
        bool failed = false;
        const std::int64_t living_before = living;
        {
            auto subject = prepare();
            until_failure = static_cast<std::int64_t>(n);
            try {
                body(subject);
            } catch (const std::bad_alloc&) {
                failed = true;
            } catch (const Error& error) {
                failed = error.kind() == ErrorKind::memory;
                CHECK(failed);
            }
            const bool reached = until_failure < 0;
            until_failure = -1;
            if (!reached) return n;
            after(subject, failed);
        }
        CHECK(living == living_before);
    }
}

std::string bytes_of(const Autoencoder& model) {
    StoredModel stored = model.store(true);
    stored.state.seconds = 0.0;
    for (double& seconds : stored.state.history.seconds) seconds = 0.0;
    return to_bytes(stored);
}

}  // namespace

TEST(each_allocation_of_a_fit_may_fail) {
    std::size_t tried = 0;
    for (const Work& work : works()) {
        const Rows rows = make_rows(work.n_rows, work.n_features);
        const auto prepare = [&] {
            return Autoencoder(work.configuration, work.n_features, 11, cpu::device(), options_of(work));
        };
        const SparseRows sparse(rows);
        const Samples samples = work.sparse ? sparse.samples() : Samples(rows.source());
        const auto fit = [&](Autoencoder& model) { model.fit(samples, nullptr, {}); };
        Autoencoder straight = prepare();
        fit(straight);
        fit(straight);  // what a process allocates once, it has
        const std::size_t n = fail_each(prepare, fit, [&](Autoencoder& model, bool failed) {
            encoded(model, rows.view());
            bytes_of(model);  // what is stored is consistent
            // Some do without what they cannot have; none does half.
            if (!failed) CHECK(model.state().epoch == 2);
            while (model.state().epoch < 4) {
                Configuration rest = work.configuration;
                rest.epochs = 1;
                model.configure(rest);
                fit(model);
            }
            CHECK(model.state().history.loss.size() == 4);
        });
        CHECK(n > 20);
        tried += n;
    }
    counted("failed allocations of a fit", tried);
}

TEST(a_fit_that_ran_out_of_memory_goes_on_with_the_same_bits) {
    const Rows rows = make_rows(40, kWidth);
    Configuration configuration = small_configuration();
    configuration.epochs = 1;
    Autoencoder straight = make_autoencoder(cpu::device(), configuration);
    while (straight.state().epoch < 3) straight.fit(rows.source(), nullptr, {});
    const std::string expected = bytes_of(straight);
    fail_each([&] { return make_autoencoder(cpu::device(), configuration); },
              [&](Autoencoder& model) { model.fit(rows.source(), nullptr, {}); },
              [&](Autoencoder& model, bool) {
                  while (model.state().epoch < 3) model.fit(rows.source(), nullptr, {});
                  CHECK(bytes_of(model) == expected);
              });
}

TEST(each_allocation_of_inference_may_fail) {
    std::size_t tried = 0;
    for (const Work& work : works()) {
        const Rows rows = make_rows(work.n_rows, work.n_features);
        Autoencoder model(work.configuration, work.n_features, 11, cpu::device(), options_of(work));
        model.fit(rows.source(), nullptr, {});
        const std::string before = bytes_of(model);
        const std::vector<float> code = encoded(model, rows.view());
        std::vector<float> out(rows.values.size());
        std::vector<double> errors(static_cast<std::size_t>(work.n_rows));
        const std::vector<std::function<void()>> calls = {
            [&] { encoded(model, rows.view()); },
            [&] { model.reconstruct(rows.view(), {out.data(), work.n_rows, work.n_features, work.n_features}); },
            [&] { model.reconstruction_error(rows.view(), errors, std::nullopt); },
            [&] { model.evaluate(rows.source()); },
            [&] { model.gradients(rows.source()); },
        };
        for (const auto& call : calls) {
            call();
            tried += fail_each([] { return 0; }, [&](int) { call(); }, [](int, bool) {});
            CHECK(same_bits(encoded(model, rows.view()), code));
            CHECK(bytes_of(model) == before);
        }
    }
    CHECK(tried > 40);
    counted("failed allocations of inference", tried);
}

TEST(each_allocation_of_a_save_and_of_a_load_may_fail) {
    std::string folder = (std::filesystem::temp_directory_path() / "isthmus-test-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) std::abort();
    const std::string path = folder + "/model";
    std::size_t tried = 0;
    for (const Work& work : works()) {
        const Rows rows = make_rows(work.n_rows, work.n_features);
        Autoencoder model(work.configuration, work.n_features, 11, cpu::device(), options_of(work));
        const std::string old = to_bytes(model.store(false));
        model.fit(rows.source(), nullptr, {});
        const std::string whole = to_bytes(model.store(true));
        write_atomically(path, old);
        tried += fail_each([] { return 0; }, [&](int) { write_atomically(path, to_bytes(model.store(true))); },
                           [&](int, bool failed) {
                               const std::string found = read_file(path);
                               CHECK(found == whole || (failed && found == old));
                               const auto names = std::filesystem::directory_iterator(folder);
                               CHECK(std::distance(begin(names), end(names)) == 1);
                           });
        write_atomically(path, whole);
        tried += fail_each(
            [] { return 0; },
            [&](int) { Autoencoder read(from_bytes(read_file(path), path), cpu::device(), options_of(work)); },
            [](int, bool failed) { CHECK(failed); });
        CHECK(to_bytes(model.store(true)) == whole);
    }
    std::filesystem::remove_all(folder);
    counted("failed allocations of saves and loads", tried);
}
