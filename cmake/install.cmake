# What `cmake --install` lays down: the library, its headers and a package for find_package(bib CONFIG), the C API as a
# shared library of its own (bib::c), and bib.pc.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(GLOB_RECURSE bib_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/bib/*.h)
target_sources(bib PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${bib_headers})

set_target_properties(bib_c PROPERTIES EXCLUDE_FROM_ALL OFF)
install(TARGETS bib bib_c EXPORT bibTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(bib_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bib)
install(EXPORT bibTargets NAMESPACE bib:: DESTINATION ${bib_package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/bibConfig.cmake.in ${PROJECT_BINARY_DIR}/bibConfig.cmake
                              INSTALL_DESTINATION ${bib_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bibConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# From bib.pc's own folder, so that --prefix at install time, or moving the tree, needs no edit.
file(RELATIVE_PATH bib_pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
set(bib_cuda_value 0)
if(bib_cuda)
  set(bib_cuda_value 1)
  set(bib_cuda_libs " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/bib.pc.in ${PROJECT_BINARY_DIR}/bib.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bibConfig.cmake ${PROJECT_BINARY_DIR}/bibConfigVersion.cmake
        DESTINATION ${bib_package_dir})
install(FILES ${PROJECT_BINARY_DIR}/bib.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
