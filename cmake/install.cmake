# SPDX-License-Identifier: Apache-2.0
# What others build with: headers, libisthmus.so, a CMake package, a pkg-config file. In a wheel all of it lies in the
# Python package's folder, with the library where the module looks for its CUDA part, too; else in CMake's usual places.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
if(SKBUILD)
  set(ISTHMUS_INSTALL_LIBRARY isthmus)
  set(ISTHMUS_INSTALL_INCLUDE isthmus/include)
  set(ISTHMUS_INSTALL_CMAKE isthmus/lib/cmake/isthmus)
  set(ISTHMUS_INSTALL_PKGCONFIG isthmus/lib/pkgconfig)
else()
  set(ISTHMUS_INSTALL_LIBRARY ${CMAKE_INSTALL_LIBDIR})
  set(ISTHMUS_INSTALL_INCLUDE ${CMAKE_INSTALL_INCLUDEDIR})
  set(ISTHMUS_INSTALL_CMAKE ${CMAKE_INSTALL_LIBDIR}/cmake/isthmus)
  set(ISTHMUS_INSTALL_PKGCONFIG ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

configure_file(${PROJECT_SOURCE_DIR}/csrc/include/isthmus/version.h.in ${PROJECT_BINARY_DIR}/include/isthmus/version.h
               @ONLY)

function(isthmus_install)
  install(TARGETS isthmus_shared EXPORT isthmusTargets LIBRARY DESTINATION ${ISTHMUS_INSTALL_LIBRARY})
  if(TARGET isthmus_cuda)
    install(TARGETS isthmus_cuda LIBRARY DESTINATION ${ISTHMUS_INSTALL_LIBRARY})
  endif()
  install(FILES ${PROJECT_SOURCE_DIR}/csrc/include/isthmus/isthmus.h
                ${PROJECT_SOURCE_DIR}/csrc/include/isthmus/autoencoder.hpp
                ${PROJECT_BINARY_DIR}/include/isthmus/version.h
          DESTINATION ${ISTHMUS_INSTALL_INCLUDE}/isthmus)

  set(package ${PROJECT_BINARY_DIR}/package)
  install(EXPORT isthmusTargets NAMESPACE isthmus:: DESTINATION ${ISTHMUS_INSTALL_CMAKE})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/isthmusConfig.cmake.in ${package}/isthmusConfig.cmake
                                INSTALL_DESTINATION ${ISTHMUS_INSTALL_CMAKE})
  # Before 1.0 a minor version may change what programs see.
  write_basic_package_version_file(${package}/isthmusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${package}/isthmusConfig.cmake ${package}/isthmusConfigVersion.cmake
          DESTINATION ${ISTHMUS_INSTALL_CMAKE})

  # Found from where the file lies, so that the folder may be moved, as a wheel's is.
  file(RELATIVE_PATH root /${ISTHMUS_INSTALL_PKGCONFIG} /)
  string(REGEX REPLACE "/$" "" root "${root}")
  configure_file(${PROJECT_SOURCE_DIR}/cmake/isthmus.pc.in ${package}/isthmus.pc @ONLY)
  install(FILES ${package}/isthmus.pc DESTINATION ${ISTHMUS_INSTALL_PKGCONFIG})
endfunction()
