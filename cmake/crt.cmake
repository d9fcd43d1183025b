# The AWS Common Runtime (CRT) as static libraries.
#
# Owns: which CRT release cumulo is built on (this is the only file that says so), where it comes from, how it is
# compiled, and the target `cumulo::crt` that the extension and the native tests link.
#
# The C sources of all CRT libraries, s2n and aws-lc are in the source distribution of the `awscrt` package. pip fetches it
# from whatever index this machine is set up with, by name, version and hash. It is built once into a cache folder outside
# the checkout and found there by every later build; a ready install named by CUMULO_CRT_ROOT skips all of that.
#
# What always holds: a folder in the cache under its final name is complete. Builders work under a lock, in a folder of
# another name, and rename it as their last step.

set(CUMULO_CRT_VERSION 0.38.1)
set(CUMULO_CRT_SHA256 0dcebfaa70cf079133cd2352119e3d05e9b8ca1d1621736cfb54c03f3d5fef0f)

# How the CRT is compiled. AWS_STATIC_LOG_LEVEL=3 compiles INFO, DEBUG and TRACE logging out (3 = warnings): a disabled log
# line would still cost an indirect call, and INFO prints what is signed.
set(_crt_recipe
    -DCMAKE_BUILD_TYPE=RelWithDebInfo
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON
    -DCMAKE_INSTALL_LIBDIR=lib
    -DCMAKE_C_FLAGS=-DAWS_STATIC_LOG_LEVEL=3
    -DBUILD_SHARED_LIBS=OFF
    -DBUILD_TESTING=OFF
    -DUSE_OPENSSL=OFF
)

# A dependent library precedes what it depends on; the reverse order does not link.
set(_crt_libraries
    aws-c-s3 aws-c-auth aws-c-http aws-c-compression aws-c-sdkutils aws-c-io aws-checksums s2n aws-c-cal aws-c-common crypto
)

# The folder that caches survive in.
function(_crt_cache_root out)
    if(NOT "$ENV{CUMULO_CACHE_DIR}" STREQUAL "")
        set(root "$ENV{CUMULO_CACHE_DIR}")
    elseif(NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
        set(root "$ENV{XDG_CACHE_HOME}/cumulo")
    elseif(NOT "$ENV{HOME}" STREQUAL "")
        set(root "$ENV{HOME}/.cache/cumulo")
    else()
        message(FATAL_ERROR "Nowhere to keep the built CRT: set CUMULO_CACHE_DIR to a folder, or HOME.")
    endif()
    get_filename_component(root "${root}" ABSOLUTE BASE_DIR "${CMAKE_SOURCE_DIR}")
    set(${out} "${root}" PARENT_SCOPE)
endfunction()

# A name that differs wherever the built libraries would.
function(_crt_cache_key out)
    set(libc "")
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
        execute_process(
            COMMAND "${CMAKE_C_COMPILER}" -dumpmachine
            OUTPUT_VARIABLE triple OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
        )
        if(triple MATCHES "musl")
            set(libc "musl")
        else()
            set(libc "gnu")
        endif()
    endif()
    set(arch "${CMAKE_SYSTEM_PROCESSOR}")
    if(CMAKE_OSX_ARCHITECTURES)
        string(REPLACE ";" "+" arch "${CMAKE_OSX_ARCHITECTURES}")
    endif()
    string(SHA256 digest
        "${CUMULO_CRT_SHA256};${_crt_recipe};${CMAKE_C_COMPILER_ID};${CMAKE_OSX_DEPLOYMENT_TARGET};${libc}")
    string(SUBSTRING "${digest}" 0 12 digest)
    string(TOLOWER "crt-${CUMULO_CRT_VERSION}-${CMAKE_SYSTEM_NAME}${libc}-${arch}-${digest}" key)
    set(${out} "${key}" PARENT_SCOPE)
endfunction()

function(_crt_run what directory)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${directory}" RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${what} failed (${status}). Its output is above; nothing was put into the cache.")
    endif()
endfunction()

# Fetches and unpacks the source distribution; pip compares the hash before anything in it is used.
function(_crt_fetch work)
    file(WRITE "${work}/requirement.txt" "awscrt==${CUMULO_CRT_VERSION} --hash=sha256:${CUMULO_CRT_SHA256}\n")
    message(STATUS "Fetching the CRT sources (awscrt ${CUMULO_CRT_VERSION})")
    # pip asks the package for its metadata even when it only downloads; build isolation gives it the setuptools it needs.
    _crt_run("Fetching the CRT sources with pip" "${work}"
        "${Python_EXECUTABLE}" -m pip download --no-deps --no-binary awscrt --require-hashes
        --disable-pip-version-check --no-input --quiet --dest "${work}/sdist" -r "${work}/requirement.txt"
    )
    set(archive "${work}/sdist/awscrt-${CUMULO_CRT_VERSION}.tar.gz")
    file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${work}/source")
endfunction()

function(_crt_compile work prefix)
    set(source "${work}/source/awscrt-${CUMULO_CRT_VERSION}/crt")
    set(arguments ${_crt_recipe} "-DCMAKE_INSTALL_PREFIX=${prefix}" "-DCMAKE_C_COMPILER=${CMAKE_C_COMPILER}"
        -G "${CMAKE_GENERATOR}" "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}")
    if(CMAKE_OSX_ARCHITECTURES)
        string(REPLACE ";" "\\;" architectures "${CMAKE_OSX_ARCHITECTURES}")
        list(APPEND arguments "-DCMAKE_OSX_ARCHITECTURES=${architectures}")
    endif()
    if(CMAKE_OSX_DEPLOYMENT_TARGET)
        list(APPEND arguments "-DCMAKE_OSX_DEPLOYMENT_TARGET=${CMAKE_OSX_DEPLOYMENT_TARGET}")
    endif()
    if("$ENV{CMAKE_BUILD_PARALLEL_LEVEL}" STREQUAL "")
        cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
        set(ENV{CMAKE_BUILD_PARALLEL_LEVEL} "${cores}")
    endif()
    message(STATUS "Building the CRT: a minute or two, once")
    _crt_run("Configuring the CRT" "${work}" "${CMAKE_COMMAND}" -S "${source}" -B "${work}/build" ${arguments})
    _crt_run("Building the CRT" "${work}" "${CMAKE_COMMAND}" --build "${work}/build" --target install)

    # What is linked in is shipped: its licences come along.
    file(GLOB notices RELATIVE "${source}" "${source}/*/LICENSE*" "${source}/*/NOTICE*")
    foreach(notice IN LISTS notices)
        get_filename_component(library "${notice}" DIRECTORY)
        file(COPY "${source}/${notice}" DESTINATION "${prefix}/licenses/${library}")
    endforeach()
endfunction()

# Sets `out` to an install in the cache, building it when it isn't there yet.
function(_crt_from_cache out)
    _crt_cache_root(root)
    _crt_cache_key(key)
    set(final "${root}/${key}")
    set(${out} "${final}" PARENT_SCOPE)
    if(EXISTS "${final}")
        return()
    endif()

    file(MAKE_DIRECTORY "${root}")
    message(STATUS "Waiting for the lock on ${final}")
    file(LOCK "${root}/${key}.lock" GUARD FUNCTION TIMEOUT 3600)
    if(EXISTS "${final}")  # another build finished it while this one waited
        return()
    endif()

    # The lock is ours, so whatever an interrupted build left here is nobody's. Its compiler may be running still: a name of
    # our own keeps it from writing into this build.
    file(GLOB abandoned "${root}/${key}.work-*")
    if(abandoned)
        file(REMOVE_RECURSE ${abandoned})
    endif()
    string(RANDOM LENGTH 8 suffix)
    set(work "${root}/${key}.work-${suffix}")
    file(MAKE_DIRECTORY "${work}")
    _crt_fetch("${work}")
    _crt_compile("${work}" "${work}/install")
    file(RENAME "${work}/install" "${final}")
    file(REMOVE_RECURSE "${work}")
endfunction()

function(_crt_define_target root)
    find_package(Threads REQUIRED)
    add_library(cumulo_crt INTERFACE)
    add_library(cumulo::crt ALIAS cumulo_crt)
    # SYSTEM: warnings are for our own code.
    target_include_directories(cumulo_crt SYSTEM INTERFACE "${root}/include")
    foreach(name IN LISTS _crt_libraries)
        find_library(_crt_path_${name} NAMES "lib${name}.a" PATHS "${root}/lib" "${root}/lib64" NO_DEFAULT_PATH NO_CACHE)
        if(NOT _crt_path_${name})
            message(FATAL_ERROR "No lib${name}.a under ${root}: not a static install of the CRT. "
                "Correct or unset CUMULO_CRT_ROOT; if this is the cache folder, remove it and build again.")
        endif()
        target_link_libraries(cumulo_crt INTERFACE "${_crt_path_${name}}")
    endforeach()
    target_link_libraries(cumulo_crt INTERFACE Threads::Threads ${CMAKE_DL_LIBS})
    if(APPLE)
        target_link_libraries(cumulo_crt INTERFACE
            "-framework CoreFoundation" "-framework Security" "-framework Network")
    else()
        target_link_libraries(cumulo_crt INTERFACE m)
        if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
            target_link_libraries(cumulo_crt INTERFACE rt)
            # As aws-c-io's own users get it: its headers declare the epoll event loop only then.
            target_compile_definitions(cumulo_crt INTERFACE AWS_ENABLE_EPOLL)
        endif()
    endif()
endfunction()

set(CUMULO_CRT_ROOT "" CACHE PATH "A ready static install of the CRT, instead of building one")
set(_crt_root "${CUMULO_CRT_ROOT}")
if(_crt_root STREQUAL "")
    set(_crt_root "$ENV{CUMULO_CRT_ROOT}")
endif()
if(_crt_root STREQUAL "")
    _crt_from_cache(_crt_root)
endif()
message(STATUS "CRT: ${_crt_root}")
_crt_define_target("${_crt_root}")
set(CUMULO_CRT_LICENSES "${_crt_root}/licenses")
