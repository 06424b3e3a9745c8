// SPDX-License-Identifier: Apache-2.0
// The CUDA device linked with the emulator instead of opened, so that the test sees the same runtime as the device
// does: which device is current.
#include <numeric>
#include <vector>

#include "../cpp/check.hpp"
#include "core/configuration.hpp"
#include "core/program.hpp"
#include "device/contract.hpp"
#include "emulated.hpp"

using namespace isthmus;

extern "C" const Device* isthmus_cuda_device(int ordinal);

namespace {

struct Never final : Stop {
    bool requested() override { return false; }
};

int current_device() {
    int device = -1;
    emulated::must(cudaGetDevice(&device));
    return device;
}

// Every call of the contract on a device, in the order of a fit. after(what) is called after each.
template <class After>
void call_everything(int ordinal, After&& after) {
    const Device& device = *isthmus_cuda_device(ordinal);
    after("isthmus_cuda_device");
    Configuration configuration;
    configuration.encoder_layers = {3};
    const Program program = build_program(configuration, 5);
    const auto model = device.compile(program, {});
    after("compile");
    std::vector<float> values(static_cast<std::size_t>(20 * 5), 0.5F);
    std::vector<float> out(values.size());
    std::vector<double> errors(20);
    RowSource source{{values.data(), 20, 5, 5}, {}, nullptr};
    std::vector<std::int64_t> rows(20);
    std::iota(rows.begin(), rows.end(), std::int64_t{0});
    const std::vector<double> rates(5, 1e-3);
    StepRange range;
    range.batch_size = 4;
    range.rows = rows;
    range.learning_rates = rates;
    Never never;
    UpdateRule clipped;
    clipped.clip_norm = 1.0;
    Tensors tensors;
    tensors.params.assign(static_cast<std::size_t>(program.flat_size), 0.0F);
    model->write(tensors);
    after("write");
    model->keep();
    after("keep");
    auto resident = model->hold(source);
    after("hold");
    for (const UpdateRule& rule : {UpdateRule{}, clipped}) {
        model->train(source, range, rule, nullptr, never);
        after("train");
    }
    model->rollback();
    after("rollback");
    model->read(tensors);
    after("read");
    std::vector<float> gradient(static_cast<std::size_t>(program.flat_size));
    model->gradient(source, gradient);
    after("gradient");
    model->run(0, program.ops.size(), source.inputs, {out.data(), 20, 5, 5});
    after("run");
    model->row_errors(source, errors, {});
    after("row_errors");
    device.kernels().activation_forward(source.inputs, Activation::relu, {out.data(), 20, 5, 5}, {});
    after("kernels");
    resident.reset();
    after("the end of what was held");
}

TEST(the_callers_device_is_current_after_every_call) {
    const emulated::Setting devices("ISTHMUS_EMULATOR_DEVICES", "2");
    for (const int callers : {0, 1}) {
        for (const int ours : {0, 1}) {
            emulated::must(cudaSetDevice(callers));
            call_everything(ours, [&](const char* what) {
                CHECK(current_device() == callers);
                if (current_device() != callers) std::printf("after %s\n", what);
            });
            CHECK(current_device() == callers);  // and after the model's end
        }
    }
    emulated::must(cudaSetDevice(0));
}

}  // namespace
