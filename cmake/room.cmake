# The targets `unit_tests` and `fuzz_targets` build all there are; the files unit_tests.list and fuzz_targets.list of the
# build folder name them, a name and a program a line: ./test reads these.
add_custom_target(unit_tests)
add_custom_target(fuzz_targets)

# Makes the googletest program `<name>_test` one of the unit tests.
function(dure_unit_test name)
  add_test(NAME ${name} COMMAND ${name}_test WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  add_dependencies(unit_tests ${name}_test)
  set_property(GLOBAL APPEND_STRING PROPERTY DURE_UNIT_TESTS "${name} $<TARGET_FILE:${name}_test>\n")
endfunction()

# One room = one static library `dure_<name>` that lists exactly the rooms it may import.
#
#   dure_room(store IMPORTS base run os wire schema LIBS z SOURCES a.cpp b.cpp
#             TESTS a_test.cpp b_test.cpp TEST_IMPORTS ... BENCH a_bench.cpp FUZZ reader_fuzz.cpp)
#
# Tests of a room become one binary `<name>_test`; each benchmark and each fuzz target a binary of its own.
# TEST_IMPORTS: rooms that only the tests may use.
function(dure_room name)
  cmake_parse_arguments(R "" "" "IMPORTS;LIBS;PRIVATE_LIBS;SOURCES;TESTS;TEST_IMPORTS;TEST_LIBS;BENCH;FUZZ" ${ARGN})
  if(R_SOURCES)
    add_library(dure_${name} STATIC ${R_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(dure_${name} PRIVATE ${R_PRIVATE_LIBS})
  else()
    add_library(dure_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(dure_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(dure_${name} ${scope} Threads::Threads ${R_LIBS})
  foreach(import ${R_IMPORTS})
    if(NOT TARGET dure_${import})
      message(FATAL_ERROR "room ${name} imports ${import}, which is not below it")
    endif()
    target_link_libraries(dure_${name} ${scope} dure_${import})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY DURE_ROOMS ${name})
  set_property(GLOBAL PROPERTY DURE_IMPORTS_${name} "${R_IMPORTS}")

  set(test_imports ${R_TEST_IMPORTS})
  list(TRANSFORM test_imports PREPEND dure_)
  if(DURE_TESTS AND R_TESTS)
    add_executable(${name}_test ${R_TESTS})
    target_link_libraries(${name}_test PRIVATE dure_${name} ${test_imports} ${R_PRIVATE_LIBS} ${R_TEST_LIBS}
                          GTest::gtest GTest::gmock GTest::gtest_main)
    dure_unit_test(${name})
  endif()
  if(DURE_BENCH)
    foreach(source ${R_BENCH})
      get_filename_component(stem ${source} NAME_WE)
      add_executable(${stem} ${source})
      target_link_libraries(${stem} PRIVATE dure_${name} ${test_imports} ${R_PRIVATE_LIBS} benchmark::benchmark)
    endforeach()
  endif()
  if(DURE_FUZZ)
    foreach(source ${R_FUZZ})
      get_filename_component(stem ${source} NAME_WE)
      add_executable(${stem} ${source})
      target_link_libraries(${stem} PRIVATE dure_${name} ${test_imports})
      target_compile_options(${stem} PRIVATE -fsanitize=fuzzer)
      target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
      add_dependencies(fuzz_targets ${stem})
      set_property(GLOBAL APPEND_STRING PROPERTY DURE_FUZZ_TARGETS "${stem} $<TARGET_FILE:${stem}>\n")
    endforeach()
  endif()
endfunction()
