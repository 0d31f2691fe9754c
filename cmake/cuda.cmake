# Sets bib_cuda to whether kernels/*.cu are compiled, and enables the language then.
#   BIB_CUDA auto: where nvcc is found (CMAKE_CUDA_COMPILER, CUDACXX, PATH or /usr/local/cuda); ON: it must be; OFF: never
# Double precision, sanitizers and fuzzing are for the host code alone.
set(BIB_CUDA auto CACHE STRING "Compile the CUDA kernels: auto, ON or OFF")
set_property(CACHE BIB_CUDA PROPERTY STRINGS auto ON OFF)
set(bib_cuda OFF)
if(NOT BIB_CUDA STREQUAL "OFF" AND NOT BIB_DOUBLE AND NOT BIB_SANITIZE AND NOT BIB_FUZZ)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(BIB_NVCC nvcc HINTS /usr/local/cuda/bin)
    if(BIB_NVCC)
      set(CMAKE_CUDA_COMPILER ${BIB_NVCC})
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER OR DEFINED ENV{CUDACXX})
    set(bib_cuda ON)
  elseif(BIB_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BIB_CUDA=ON, but there is no nvcc: install the CUDA toolkit, or set CMAKE_CUDA_COMPILER")
  else()
    message(STATUS "No nvcc: bib is built for the CPU alone")
  endif()
endif()

if(bib_cuda)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "GPU architectures, as 90 or 75;80;90")
  endif()
  if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  if(NOT TARGET CUDA::nvToolsExt)  # CMake 3.25.1 sets a property of this library, which CUDA 13 no longer has
    add_library(CUDA::nvToolsExt INTERFACE IMPORTED)
  endif()
  find_package(CUDAToolkit REQUIRED)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know that nvcc has C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  # The kernels' own -O3 comes on top, and nvcc warns where the two differ.
  string(REPLACE "-O2" "-O3" CMAKE_CUDA_FLAGS_RELWITHDEBINFO "${CMAKE_CUDA_FLAGS_RELWITHDEBINFO}")
  string(REGEX REPLACE "-g( |$)" "-Xcompiler=-g1\\1" CMAKE_CUDA_FLAGS_RELWITHDEBINFO "${CMAKE_CUDA_FLAGS_RELWITHDEBINFO}")
  string(REPLACE "-O1" "-O3" CMAKE_CUDA_FLAGS_MINSIZEREL "${CMAKE_CUDA_FLAGS_MINSIZEREL}")
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for sm ${CMAKE_CUDA_ARCHITECTURES}")
endif()

# The kernels, with their own warnings: nvcc's front end passes no -Wpedantic, and takes the conversion of a View of
# const, which no one calls, for a mistake (554).
function(bib_add_kernels target)
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
  add_library(${target}_kernels OBJECT ${kernels})
  target_compile_definitions(${target}_kernels PRIVATE BIB_CUDA=1)
  target_include_directories(${target}_kernels PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_compile_options(${target}_kernels PRIVATE -O3 --expt-relaxed-constexpr -diag-suppress 554 -Werror=all-warnings
                         -Xcompiler=-Wall,-Wextra,-Wno-unused-function,-Wno-missing-field-initializers)
  # Of several GPUs' kernels a process unpacks one: a fifth of the size for a few milliseconds, once. Before CUDA 13 it
  # would ask for a newer driver than CUDA itself does.
  list(LENGTH CMAKE_CUDA_ARCHITECTURES architectures)
  if(architectures GREATER 1 AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
    target_compile_options(${target}_kernels PRIVATE --compress-mode=size)
  endif()
  add_library(${target}_kernels_host OBJECT ${PROJECT_SOURCE_DIR}/kernels/blas.cpp)
  target_compile_definitions(${target}_kernels_host PRIVATE BIB_CUDA=1
                             BIB_CUBLAS_MAJOR="${CUDAToolkit_VERSION_MAJOR}")
  target_include_directories(${target}_kernels_host PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(${target}_kernels_host SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${target}_kernels_host PRIVATE bib_options)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_kernels> $<TARGET_OBJECTS:${target}_kernels_host>)
  target_link_libraries(${target} PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
endfunction()
