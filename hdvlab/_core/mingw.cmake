# Cross-compiles the C library for 64-bit Windows (no Python extension then):
#   cmake -S hdvlab/_core -B BUILD -DCMAKE_TOOLCHAIN_FILE=mingw.cmake && cmake --build BUILD     gives BUILD/vmdevicehost.dll
# Debian: apt-get install cmake gcc-mingw-w64-x86-64-posix
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
find_program(CMAKE_C_COMPILER NAMES x86_64-w64-mingw32-gcc-posix x86_64-w64-mingw32-gcc REQUIRED)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
