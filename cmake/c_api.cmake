# The C API as a shared library of its own, bib::c: built where it is installed, or where something is linked to it.
# Only bib.h's functions are visible in it, so that its binary interface is that header and nothing else.
add_library(bib_c SHARED EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/train/c_api.cpp)
add_library(bib::c ALIAS bib_c)
set_target_properties(bib_c PROPERTIES EXPORT_NAME c VERSION ${PROJECT_VERSION} SOVERSION 1)  # SOVERSION: BIB_ABI_VERSION
target_compile_definitions(bib_c PRIVATE BIB_VERSION="${PROJECT_VERSION}")
target_include_directories(bib_c PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:include> PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(bib_c PRIVATE bib $<BUILD_INTERFACE:bib_options>)
target_link_options(bib_c PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
