# dure_rows(<target> NAMESPACE dure::kinds INCLUDE kinds/views ROWS a.rows b.rows ... [REGISTRY])
#
# Compiles texts of rows (see README.md) into a static library <target>: tables, and typed views that users include as
# "<INCLUDE>/<stem>.h". Headers are made before anything that links the target is compiled.
function(dure_rows target)
  cmake_parse_arguments(R "REGISTRY" "NAMESPACE;INCLUDE" "ROWS" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${target}_rows)
  file(MAKE_DIRECTORY ${out}/${R_INCLUDE})
  set(inputs)
  set(sources)
  set(headers)
  foreach(rows ${R_ROWS})
    get_filename_component(path ${rows} ABSOLUTE)
    get_filename_component(stem ${rows} NAME_WE)
    list(APPEND inputs ${path})
    list(APPEND sources ${out}/${stem}.cpp)
    list(APPEND headers ${out}/${R_INCLUDE}/${stem}.h)
  endforeach()
  set(registry)
  if(R_REGISTRY)
    set(registry --registry)
    list(APPEND sources ${out}/registry.cpp)
  endif()
  # The stamp lets rowc leave unchanged outputs alone without being run on every build.
  add_custom_command(
    OUTPUT ${out}/stamp BYPRODUCTS ${sources} ${headers}
    COMMAND rowc --namespace ${R_NAMESPACE} --include ${R_INCLUDE} --out ${out} ${registry} ${inputs}
    COMMAND ${CMAKE_COMMAND} -E touch ${out}/stamp
    DEPENDS rowc ${inputs} COMMENT "rows -> ${R_INCLUDE}" VERBATIM)
  add_custom_target(${target}_generate DEPENDS ${out}/stamp)
  add_library(${target} STATIC ${sources})
  add_dependencies(${target} ${target}_generate)
  target_include_directories(${target} PUBLIC ${out})
  target_link_libraries(${target} PUBLIC dure_schema)
endfunction()
