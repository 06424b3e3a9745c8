# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DOBJECT=kernels.o -DISA=avx512 -P linkage.cmake: every symbol that the kernels of an instruction set
# leave to the linker bears the name of its namespace. Another one would be a copy of an inline function that the linker
# may keep for machines that cannot run it.
execute_process(COMMAND ${NM} --defined-only --extern-only ${OBJECT} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
string(REGEX MATCHALL "[^\n]+" symbols "${output}")
list(FILTER symbols EXCLUDE REGEX "isthmus3cpu[0-9]+${ISA}")
if(failed OR symbols OR NOT output MATCHES "kInstructionSet|kProducts")
  message(FATAL_ERROR "${OBJECT} leaves to the linker: ${symbols}")
endif()
