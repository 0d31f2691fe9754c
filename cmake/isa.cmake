# The instruction sets of the architecture that is built for, poorest first, as BIB_EACH_ISA in cpu/isa.h.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(bib_isas neon)
  set(bib_flags_neon)  # the architecture's own
  # All other code computes as on x86-64, whose compilers fuse nothing unless a CPU is named: else what stands inlined at
  # two places could differ in its last bits.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(bib_isas base avx2 avx512)
  set(bib_flags_base -march=x86-64-v2)
  set(bib_flags_avx2 -march=x86-64-v3)
  set(bib_flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
else()
  message(FATAL_ERROR "bib is for x86-64 and 64-bit ARM, and not for ${CMAKE_SYSTEM_PROCESSOR}: cpu/vec.h has no vectors for it")
endif()

# Compiles each *.simd.cpp once per instruction set, in a namespace of the set's name (cpu/vec.h), into `target`.
# Always optimised: without inlining, shared inline functions could be emitted with instructions the CPU may lack.
function(bib_add_isa_sources target)
  if(NOT ARGN)
    return()
  endif()
  foreach(isa ${bib_isas})
    add_library(${target}_${isa} OBJECT ${ARGN})
    target_compile_definitions(${target}_${isa} PRIVATE BIB_ISA=${isa} BIB_CUDA=0)
    if(BIB_DOUBLE)
      target_compile_definitions(${target}_${isa} PRIVATE BIB_REAL=double)
    endif()
    target_include_directories(${target}_${isa} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
    target_compile_options(${target}_${isa} PRIVATE ${bib_flags_${isa}} -O3 -ffp-contract=fast -fno-math-errno
                           -fno-trapping-math -Wno-psabi)
    target_link_libraries(${target}_${isa} PRIVATE bib_options)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
  endforeach()
endfunction()
