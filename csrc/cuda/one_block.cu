// SPDX-License-Identifier: Apache-2.0
// Many steps in one launch of one block: the network stays in shared memory, a phase ends with a barrier. A step has a
// phase for each layer on the way forth, the last with the loss, one for each but the first on the way back, and one in
// which all weight gradients are summed and all parameters updated.
#include "cuda/one_block_rows.cuh"
#include "cuda/one_block_update.cuh"

namespace isthmus::cuda {

namespace {

constexpr int kMostThreads = 512;
static_assert(sizeof(OneBlockArgs) <= 4096, "what a kernel's arguments may take in CUDA 12.0");

template <class Opt>
__device__ __forceinline__ void bring_parameters(const OneBlockArgs& a, float* shared) {
    fetch_parameters(a, a.params, shared);
    fetch_parameters(a, a.m, shared + a.layout.params_size);
    if constexpr (Opt::uses_v) fetch_parameters(a, a.v, shared + 2 * a.layout.params_size);
}

template <class Opt>
__device__ __forceinline__ void take_parameters_home(const OneBlockArgs& a, const float* shared) {
    store_parameters(a, a.params, shared);
    store_parameters(a, a.m, shared + a.layout.params_size);
    if constexpr (Opt::uses_v) store_parameters(a, a.v, shared + 2 * a.layout.params_size);
}

__device__ __forceinline__ void wait_for_copies() {
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
}

template <class Opt>
__global__ void __launch_bounds__(kMostThreads, 1) train_in_one_block(OneBlockArgs a) {
    ISTHMUS_DYNAMIC_SHARED(float, shared);
    const BlockLayout& net = a.layout;
    int* const diverged = reinterpret_cast<int*>(shared + net.diverged);
    if (threadIdx.x == 0) *diverged = 0;
    bring_parameters<Opt>(a, shared);
    fetch_numbers(a, shared, 0);
    fetch_numbers(a, shared, 1);
    fetch_constants(a, shared, 0);
    wait_for_copies();
    fetch_rows(a, shared, 0);
    const UpdateItem mine = update_item(net, static_cast<int>(threadIdx.x));
    wait_for_copies();

    for (int step = 0; step < a.steps; ++step) {
        const int odd = step % 2;
        const int count = rows_of(a, step);
        fetch_rows(a, shared, step + 1);
        if (a.noise.amount != 0.0F) {
            corrupt_rows(a, shared, step, count);
            __syncthreads();
        }
        fetch_numbers(a, shared, step + 2);  // over those of this step
        fetch_constants(a, shared, step + 1);
        for (int l = 0; l < net.n_layers; ++l) {
            forward_layer(a, shared, l, odd, count);
            __syncthreads();
        }
        for (int l = net.n_layers - 1; l > 0; --l) {
            backward_layer(a, shared, l, count);
            __syncthreads();
        }
        add_up_losses(a, shared, step, count);
        update_parameters<Opt>(a, shared, mine, step, count);
        wait_for_copies();
        if (*diverged != 0) {
            if (threadIdx.x == 0) *a.diverged = step;
            break;
        }
    }
    take_parameters_home<Opt>(a, shared);
}

}  // namespace

void run_one_block(const OneBlockArgs& args, cudaStream_t stream) {
    math::visit(args.optimizer, [&](auto opt) {
        launch(train_in_one_block<decltype(opt)>, dim3(1), dim3(static_cast<unsigned>(args.layout.threads)),
               static_cast<std::size_t>(args.layout.floats) * sizeof(float), stream, args);
    });
}

}  // namespace isthmus::cuda
