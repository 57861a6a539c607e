# Installs the library of `build` to an empty prefix, then configures, builds and runs `project` against it.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output
                  ERROR_VARIABLE output INPUT_FILE ${work}/no_input)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: ${status}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${work})
file(WRITE ${work}/no_input "")
run(${CMAKE_COMMAND} --install ${build} --component library --prefix ${work}/prefix)
run(${CMAKE_COMMAND} -S ${project} -B ${work}/build -D CMAKE_CXX_COMPILER=${compiler}
    -D CMAKE_PREFIX_PATH=${work}/prefix)
run(${CMAKE_COMMAND} --build ${work}/build)
file(GLOB programs ${work}/build/example_*)
foreach(program ${programs})
  run(${program} demo)
endforeach()
if(NOT programs)
  message(FATAL_ERROR "${project} built no program example_*")
endif()
