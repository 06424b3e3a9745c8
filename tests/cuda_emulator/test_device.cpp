// SPDX-License-Identifier: Apache-2.0
// The CUDA device linked with the emulator instead of opened, so that the test sees the same runtime as the device
// does: which device is current, what is free, and calls that all fail.
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../cpp/check.hpp"
#include "core/configuration.hpp"
#include "core/parameters.hpp"
#include "core/program.hpp"
#include "device/contract.hpp"
#include "emulated.hpp"

using namespace isthmus;

extern "C" const Device* isthmus_cuda_device(int ordinal);

namespace {

struct Never final : Stop {
    bool requested() override { return false; }
};

struct SameGradient final : Reducer {
    void reduce(std::span<float>, double&, double&, double&) override {}
};

int current_device() {
    int device = -1;
    emulated::must(cudaGetDevice(&device));
    return device;
}

std::size_t free_bytes() {
    std::size_t free = 0;
    std::size_t total = 0;
    emulated::must(cudaMemGetInfo(&free, &total));
    return free;
}

// A small network, data for it, and every call of the contract.
struct Calls {
    Program program;
    std::vector<float> values = std::vector<float>(static_cast<std::size_t>(60 * 5));
    std::vector<float> out = std::vector<float>(values.size());
    std::vector<double> errors = std::vector<double>(60);
    std::vector<std::int64_t> rows = std::vector<std::int64_t>(60);
    std::vector<double> rates = std::vector<double>(15, 1e-3);
    std::vector<float> gradient;
    UpdateRule clipped;
    RowSource source;
    StepRange range;
    Never never;
    SameGradient same;

    Calls() {
        Configuration configuration;
        configuration.encoder_layers = {3};
        program = build_program(configuration, 5);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 17.0F;
        std::iota(rows.begin(), rows.end(), std::int64_t{0});
        gradient.resize(static_cast<std::size_t>(program.flat_size));
        clipped.clip_norm = 1.0;
        source = {{values.data(), 60, 5, 5}, {}, nullptr};
        range.batch_size = 4;
        range.rows = rows;
        range.learning_rates = rates;
    }

    std::unique_ptr<Model> model(int ordinal = 0) const {
        auto model = isthmus_cuda_device(ordinal)->compile(program, {});
        model->write({initial_weights(program, 7), {}, {}});
        return model;
    }
    Tensors trained(Model& model, const UpdateRule& rule = {}, Reducer* reducer = nullptr) {
        model.train(source, range, rule, reducer, never);
        return tensors(model);
    }
    static Tensors tensors(const Model& model) {
        Tensors tensors;
        model.read(tensors);
        return tensors;
    }
};

bool same_bits(const Tensors& a, const Tensors& b) { return a.params == b.params && a.m == b.m && a.v == b.v; }

const char* const kPlans[] = {"one_block", "two_kernels", "layers"};

// ---- devices ------------------------------------------------------------------------------------------------------

TEST(the_callers_device_is_current_after_every_call) {
    const emulated::Setting devices("ISTHMUS_EMULATOR_DEVICES", "2");
    Calls calls;
    for (const int callers : {0, 1}) {
        for (const int ours : {0, 1}) {
            emulated::must(cudaSetDevice(callers));
            const auto after = [&](const char* what) {
                CHECK(current_device() == callers);
                if (current_device() != callers) std::printf("after %s\n", what);
            };
            auto model = calls.model(ours);
            after("compile and write");
            model->keep();
            after("keep");
            auto resident = model->hold(calls.source);
            after("hold");
            for (const char* plan : kPlans) {
                const emulated::Setting forced("ISTHMUS_CUDA_PLAN", plan);
                auto other = calls.model(ours);
                calls.trained(*other);
                after(plan);
            }
            calls.trained(*model, calls.clipped, &calls.same);
            after("train with a reducer");
            model->rollback();
            after("rollback");
            model->gradient(calls.source, calls.gradient);
            after("gradient");
            model->run(0, calls.program.ops.size(), calls.source.inputs, {calls.out.data(), 60, 5, 5});
            after("run");
            model->row_errors(calls.source, calls.errors, {});
            after("row_errors");
            isthmus_cuda_device(ours)->kernels().activation_forward(calls.source.inputs, Activation::relu,
                                                                    {calls.out.data(), 60, 5, 5}, {});
            after("kernels");
            resident.reset();
            model.reset();
            after("their end");
        }
    }
    emulated::must(cudaSetDevice(0));
}

// ---- memory -------------------------------------------------------------------------------------------------------

// Runs body with as little memory as is used, then with what the allocation that failed asked for, and so on until it
// succeeds. Returns how many allocations failed.
template <class Body, class After>
int fail_at_each_allocation(Body&& body, After&& after) {
    std::size_t memory = (std::size_t{1} << 30) - free_bytes();
    for (int failed = 0;; ++failed) {
        const std::string limit = std::to_string(memory);
        try {
            const emulated::Setting setting("ISTHMUS_EMULATOR_MEMORY", limit.c_str());
            body();
            return failed;
        } catch (const Error& error) {
            std::size_t asked = 0;
            std::size_t free = 0;
            std::size_t total = 0;
            const bool said = std::sscanf(error.what(), "cuda:0 is out of memory: %zu bytes asked, %zu free of %zu",
                                          &asked, &free, &total) == 3;
            CHECK(said && error.kind() == ErrorKind::memory && total == memory && asked > free);
            if (!said || asked <= free) return -1;
            memory += asked - free;
        }
        after();
    }
}

TEST(a_call_that_runs_out_of_memory_anywhere_leaves_the_model_usable) {
    Calls calls;
    struct Case {
        const char* plan;
        const UpdateRule rule;
        Reducer* reducer;
        int least;  // allocations; one block has pinned memory alone
    };
    for (const Case& c : {Case{"one_block", {}, nullptr, 0}, Case{"two_kernels", {}, nullptr, 8},
                          Case{"layers", {}, nullptr, 6}, Case{"layers", calls.clipped, &calls.same, 6}}) {
        const std::size_t before = free_bytes();
        const emulated::Setting forced("ISTHMUS_CUDA_PLAN", c.plan);
        auto model = calls.model();
        auto other = calls.model();
        const Tensors begin = Calls::tensors(*model);
        const Tensors expected = calls.trained(*other, c.rule, c.reducer);
        Tensors found;
        // Without room for the rows they are streamed, where the plan can: then its bits are the same.
        RowSource source = calls.source;
        auto resident = source.resident = model->hold(calls.source);
        const int failed = fail_at_each_allocation(
            [&] {
                model->train(source, calls.range, c.rule, c.reducer, calls.never);
                found = Calls::tensors(*model);
            },
            [&] { CHECK(same_bits(Calls::tensors(*model), begin)); });
        CHECK(failed >= c.least);
        CHECK(same_bits(found, expected));
        CHECK(same_bits(calls.trained(*model, c.rule, c.reducer), calls.trained(*other, c.rule, c.reducer)));
        source.resident.reset();
        model.reset();
        other.reset();
        CHECK(resident.use_count() == 1);
        resident.reset();
        CHECK(free_bytes() == before);
    }
}

TEST(so_does_everything_else_that_allocates) {
    Calls calls;
    const std::size_t before = free_bytes();
    {
        const auto model = calls.model();
        const auto other = calls.model();
        const Tensors begin = Calls::tensors(*model);
        const auto usable = [&] { CHECK(same_bits(Calls::tensors(*model), begin)); };
        const auto times = [&](auto&& body) { return fail_at_each_allocation(body, usable); };
        const std::size_t ops = calls.program.ops.size();
        const MutableMatrixView out{calls.out.data(), 60, 5, 5};
        CHECK(times([&] { model->keep(); }) == 1);
        model->rollback();
        usable();
        CHECK(times([&] { model->gradient(calls.source, calls.gradient); }) >= 8);
        CHECK(times([&] { model->run(0, ops, calls.source.inputs, out); }) >= 2);
        CHECK(times([&] { model->row_errors(calls.source, calls.errors, out); }) >= 2);
        CHECK(times([&] { calls.model(); }) == 1);
        const Kernels& kernels = isthmus_cuda_device(0)->kernels();
        CHECK(times([&] { kernels.activation_forward(calls.source.inputs, Activation::relu, out, {}); }) == 2);
        std::vector<float> expected(calls.out.size());
        other->run(0, ops, calls.source.inputs, {expected.data(), 60, 5, 5});
        model->run(0, ops, calls.source.inputs, out);
        CHECK(calls.out == expected);
    }
    CHECK(free_bytes() == before);
}

TEST(no_room_for_the_rows_is_no_error) {
    Calls calls;
    const auto model = calls.model();
    const emulated::Setting setting("ISTHMUS_EMULATOR_MEMORY", std::to_string((1 << 30) - free_bytes()).c_str());
    CHECK(model->hold(calls.source) == nullptr);
}

// ---- a device that answers no more ----------------------------------------------------------------------------------

TEST(after_an_error_that_stays_calls_fail_and_destructors_do_not) {
    for (const char* plan : kPlans) {
        Calls calls;
        const std::size_t before = free_bytes();
        const emulated::Setting forced("ISTHMUS_CUDA_PLAN", plan);
        auto model = calls.model();
        auto resident = model->hold(calls.source);
        model->keep();
        calls.trained(*model);
        model->run(0, calls.program.ops.size(), calls.source.inputs, {calls.out.data(), 60, 5, 5});
        {
            const emulated::Setting broken("ISTHMUS_EMULATOR_BROKEN", "1");
            std::string text;
            try {
                calls.trained(*model);
            } catch (const Error& error) {
                text = error.what();
                CHECK(error.kind() == ErrorKind::runtime);
            }
            CHECK(text.find("cudaErrorIllegalAddress") != std::string::npos);
            CHECK_THROWS(Calls::tensors(*model), ErrorKind::runtime);
            CHECK_THROWS(calls.model(), ErrorKind::runtime);
            CHECK_THROWS(model->gradient(calls.source, calls.gradient), ErrorKind::runtime);
            CHECK_THROWS(model->row_errors(calls.source, calls.errors, {}), ErrorKind::runtime);
            resident.reset();
            model.reset();
        }
        CHECK(free_bytes() == before);
    }
}

}  // namespace
