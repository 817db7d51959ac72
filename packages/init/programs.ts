/** The target's C programs, which use no C library: their source files and how they are compiled. */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contractHeader } from '@nodeos/contract';
import type { StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** The folders of C sources that a step needs, for its `files`. */
export const nativeFiles = (...folders: readonly string[]): Record<string, string> =>
  Object.fromEntries(folders.map((folder) => [folder, join(HERE, folder)]));

export interface Program {
  readonly name: string;
  /** Paths relative to packages/init. */
  readonly units: readonly string[];
  readonly options: readonly string[];
}

const unitsOf = (folder: string, ...names: readonly string[]): string[] => names.map((name) => `${folder}/${name}.c`);

const LIB = unitsOf('lib', 'address', 'bytes', 'clock', 'folder', 'freestanding', 'io', 'say', 'text');

/** The code that attaches a device and keeps it attached. */
const ATTACHING = [
  ...unitsOf('netroot', 'attempt', 'connect', 'device', 'dns', 'handshake', 'keeper'),
  ...unitsOf('netroot', 'netlink', 'recognise', 'resolve', 'tls', 'uri'),
];

const COMMON = [
  '-O2',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-ffreestanding',
  '-nostdlib',
  '-fno-ident',
  '-s',
  '-Wl,--build-id=none',
];
/** Without a C library, nothing can handle a smashed stack or unwind one. */
const NO_LIBC = ['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fno-tree-loop-distribute-patterns'];

/** Static programs, optimised for size. All units are optimised together, and unused functions are left out. */
const STATIC = ['-Os', '-static', '-fno-pie', '-no-pie', '-Wl,-z,noexecstack', '-flto', '-flto-partition=one'];

export const PID1: Program = {
  name: 'init',
  units: [
    ...LIB,
    ...ATTACHING,
    ...unitsOf('netroot', 'devices', 'root'),
    ...unitsOf('pid1', 'buttons', 'console', 'end', 'events', 'group', 'lines', 'log', 'mounts'),
    ...unitsOf(
      'pid1',
      'partition',
      'pid1',
      'port',
      'spawn',
      'superblock',
      'supervisor',
      'terminal',
      'usr',
      'watchdog',
      'words',
    ),
  ],
  options: STATIC,
};

export const ATTACH: Program = {
  name: 'nbd-attach',
  units: [...LIB, ...ATTACHING, ...unitsOf('attach', 'nbd-attach')],
  options: STATIC,
};

export const ADDON: Program = {
  name: 'syscalls.node',
  units: [...unitsOf('addon', 'addon'), ...unitsOf('lib', 'freestanding')],
  options: ['-shared', '-fPIC'],
};

/** Compiles a program into the step's output. The step's files must come from `nativeFiles`. */
export async function compileProgram(
  context: StepContext,
  compiler: Compiler,
  { name, units, options }: Program,
  extraFlags: readonly string[] = [],
): Promise<void> {
  await writeFile(join(context.work, 'contract.h'), contractHeader());
  const flags = [...COMMON, ...NO_LIBC, ...compiler.flags(context), ...options, ...extraFlags, `-I${context.work}`];
  // Compiles by relative names below one folder, so that no path of this machine gets into the output.
  await context.run(`${compiler.prefix}gcc`, [...flags, '-o', join(context.dir, name), ...units], {
    ...compiler.options(context),
    cwd: dirname(context.file('lib')),
  });
}
