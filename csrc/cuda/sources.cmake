# SPDX-License-Identifier: Apache-2.0
# The sources of the CUDA device, relative to csrc/cuda, for nvcc and for the emulator alike.
set(ISTHMUS_CUDA_SOURCES
  activation.cu
  buffer.cpp
  device.cpp
  feed.cpp
  forward.cu
  gather.cu
  inference.cpp
  input_gradient.cu
  kernels.cpp
  loss.cu
  model.cpp
  network.cpp
  one_block.cu
  one_block_plan.cpp
  one_block_training.cpp
  passes.cpp
  range_plan.cpp
  step_tables.cpp
  training.cpp
  transfer.cpp
  update.cu
  weight_gradient.cu
  ../math/names.cpp
)
