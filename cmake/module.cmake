# tern_module(NAME [DEPENDS folder...] [LINK target...])
#
# Makes the library tern_NAME from src/NAME, and from the files beside the code:
#   foo_test.cpp   the test program tern_NAME_test (GoogleTest, RapidCheck)
#   foo_bench.cpp  the benchmark program tern_NAME_bench (Google Benchmark), with TERN_BENCHMARKS
#   foo_fuzz.cpp   one libFuzzer program each, tern_foo_fuzz, with TERN_FUZZ
function(tern_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK" ${ARGN})
  set(dir ${PROJECT_SOURCE_DIR}/src/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  set(tests ${sources})
  set(benches ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cpp$")

  list(TRANSFORM arg_DEPENDS PREPEND tern_)
  set(library tern_${name})
  if(sources)
    add_library(${library} STATIC ${sources})
    target_link_libraries(${library} PUBLIC tern_options ${arg_DEPENDS} ${arg_LINK})
  else()
    add_library(${library} INTERFACE)
    target_link_libraries(${library} INTERFACE tern_options ${arg_DEPENDS} ${arg_LINK})
  endif()

  if(TERN_TESTS AND tests)
    tern_test(${library}_test SOURCES ${tests} LINK ${library})
  endif()
  if(TERN_BENCHMARKS AND benches)
    add_executable(${library}_bench ${benches})
    target_link_libraries(${library}_bench PRIVATE ${library} benchmark::benchmark_main)
  endif()
  if(TERN_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(stem ${fuzzer} NAME_WE)
      add_executable(tern_${stem} ${fuzzer})
      target_link_libraries(tern_${stem} PRIVATE ${library})
      target_link_options(tern_${stem} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()

# tern_test(NAME SOURCES file... LINK target...): a GoogleTest program; every test is a ctest.
function(tern_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} tern_test_paths GTest::gmock GTest::gtest_main
                        rapidcheck_gtest_)
  # Most of the time of a build goes into tests, and hardly any of the time of a run.
  target_compile_options(${name} PRIVATE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300 LABELS ${name})
endfunction()

if(TERN_TESTS)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/test_paths.cpp.in test_paths.cpp @ONLY)
  add_library(tern_test_paths STATIC ${PROJECT_BINARY_DIR}/test_paths.cpp)
  target_link_libraries(tern_test_paths PRIVATE tern_options)

  # Debian's package has no CMake configuration for its GoogleTest header.
  find_path(RAPIDCHECK_INCLUDE_DIR rapidcheck.h REQUIRED)
  find_library(RAPIDCHECK_LIBRARY rapidcheck REQUIRED)
  add_library(rapidcheck_gtest_ INTERFACE)
  target_include_directories(rapidcheck_gtest_ SYSTEM INTERFACE ${RAPIDCHECK_INCLUDE_DIR})
  target_link_libraries(rapidcheck_gtest_ INTERFACE ${RAPIDCHECK_LIBRARY})
endif()
