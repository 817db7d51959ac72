/** Makes other build systems use a toolchain: variables, and files for CMake and Meson. */
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';

const TOOLS: Readonly<Record<string, string>> = {
  CC: 'gcc',
  CXX: 'g++',
  CPP: 'cpp',
  AR: 'gcc-ar',
  AS: 'as',
  LD: 'ld',
  NM: 'gcc-nm',
  RANLIB: 'gcc-ranlib',
  STRIP: 'strip',
  OBJCOPY: 'objcopy',
  OBJDUMP: 'objdump',
  READELF: 'readelf',
};

export const sysrootOf = (target: Target, toolchain: string): string =>
  join(toolchain, target.cross.triplet, 'sysroot');

/**
 * The environment of a build for the target: the variables that make, autoconf, pkg-config, npm and node-gyp read. The
 * toolchain's programs must also be on the search path.
 * @param toolchain the folder of a toolchain
 */
export function environmentOf(target: Target, toolchain: string): Record<string, string> {
  const { triplet } = target.cross;
  const sysroot = sysrootOf(target, toolchain);
  const tools = Object.entries(TOOLS).map(([name, tool]) => [name, `${triplet}-${tool}`] as const);
  return {
    ...Object.fromEntries(tools),
    CROSS_COMPILE: `${triplet}-`,
    SYSROOT: sysroot,
    PKG_CONFIG_SYSROOT_DIR: sysroot,
    PKG_CONFIG_LIBDIR: `${sysroot}/usr/lib/pkgconfig:${sysroot}/usr/share/pkgconfig`,
    PKG_CONFIG_PATH: '',
    CMAKE_TOOLCHAIN_FILE: join(toolchain, 'toolchain.cmake'),
    LIBC: 'musl', // for node-gyp-build
    npm_config_arch: target.nodeArch,
    npm_config_platform: 'linux',
    npm_config_libc: 'musl',
    npm_config_target_arch: target.nodeArch,
    npm_config_target_platform: 'linux',
    npm_config_target_libc: 'musl',
  };
}

const processorOf = (triplet: string): string => triplet.replace(/-.*/, '');

/**
 * A toolchain file for CMake. Its paths are relative to the file, so that the toolchain can be moved.
 * https://cmake.org/cmake/help/latest/manual/cmake-toolchains.7.html
 */
export function cmakeFile({ cross: { triplet } }: Target): string {
  return `set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${processorOf(triplet)})
set(CMAKE_C_COMPILER "\${CMAKE_CURRENT_LIST_DIR}/bin/${triplet}-gcc")
set(CMAKE_CXX_COMPILER "\${CMAKE_CURRENT_LIST_DIR}/bin/${triplet}-g++")
set(CMAKE_SYSROOT "\${CMAKE_CURRENT_LIST_DIR}/${triplet}/sysroot")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
`;
}

/**
 * A cross file for Meson. Meson finds the programs on the search path, so that the toolchain can be moved.
 * https://mesonbuild.com/Cross-compilation.html
 */
export function mesonFile({ cross: { triplet } }: Target): string {
  const processor = processorOf(triplet);
  const family = processor.replace(/^i.86$/, 'x86').replace(/^armv.*/, 'arm');
  return `[binaries]
c = '${triplet}-gcc'
cpp = '${triplet}-g++'
ar = '${triplet}-gcc-ar'
strip = '${triplet}-strip'
pkg-config = 'pkg-config'

[host_machine]
system = 'linux'
cpu_family = '${family}'
cpu = '${processor}'
endian = 'little'
`;
}
