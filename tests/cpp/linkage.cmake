# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DOBJECT=kernels.o -P linkage.cmake: the kernels of an instruction set export their table and nothing
# else. A weak symbol would be a copy of an inline function that the linker may keep for machines that cannot run it.
execute_process(COMMAND ${NM} --defined-only --extern-only ${OBJECT} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(FILTER symbols EXCLUDE REGEX " [DR] .*kInstructionSet")
if(failed OR symbols)
  message(FATAL_ERROR "${OBJECT} leaves to the linker: ${symbols}")
endif()
