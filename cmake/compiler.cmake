# Warnings, hardening and sanitizers, for every target of the project.
find_program(TERN_CCACHE ccache)
if(TERN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths relative to the checkout, so that a second checkout finds what the first one compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 ${TERN_CCACHE})
endif()
add_library(tern_options INTERFACE)
target_compile_features(tern_options INTERFACE cxx_std_23)
target_include_directories(tern_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)

# -ffp-contract=off: the scalar form of a kernel must mean the same under every compiler.
set(tern_cxx_flags
  -ffp-contract=off
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -Wcast-qual
  -Wnon-virtual-dtor -Wimplicit-fallthrough -Wformat=2 -Wvla)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports -Wrestrict on plain string concatenation (GCC bug 105651).
  list(APPEND tern_cxx_flags -Wduplicated-cond -Wlogical-op -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # libstdc++ 12's own std::stable_sort uses what it deprecates.
  list(APPEND tern_cxx_flags -Wno-deprecated-declarations)
endif()
if(TERN_WERROR)
  list(APPEND tern_cxx_flags -Werror)
endif()
if(TERN_SANITIZE)
  list(APPEND tern_cxx_flags -fsanitize=${TERN_SANITIZE} -fno-sanitize-recover=all
       -fno-omit-frame-pointer -g)
  target_link_options(tern_options INTERFACE -fsanitize=${TERN_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  list(APPEND tern_cxx_flags -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS
       -fstack-protector-strong)
  target_link_options(tern_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
target_compile_options(tern_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${tern_cxx_flags}>)
