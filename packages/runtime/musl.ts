/**
 * Node.js on musl: the official build, which is made for glibc. It runs with the toolchain's C and C++ libraries, and
 * with a small compatibility library that provides functions that only glibc has (native/glibc.c).
 */
import { chmod, cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { type Step, type StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { PRELOAD } from './allocator.js';
import { PT_INTERP, segmentsOf, type Elf } from './elf.js';
import { unpackNode } from './node.js';
import { writeInfo } from './runtime.js';
import type { NodeRelease } from './sources.js';
import { setThreadStack } from './stack.js';

const NATIVE = fileURLToPath(new URL('../native', import.meta.url));

/** The soname of glibc's loader, which the official build needs. The compatibility library takes this name. */
const GLIBC_LOADER = /^ld-linux[\w-]*\.so\.\d$/;

/** Library names that musl's loader resolves to musl itself. Programs may need any of them. */
const MUSL_LIBRARIES = /^lib(c|m|dl|pthread|rt|util|xnet)\./;

/** @param allocator a step with `preload.so`. Default: musl's own allocator */
export function muslRuntime(
  target: Target,
  { version, source }: NodeRelease,
  compiler: Compiler,
  allocator?: Step,
): Step {
  return {
    name: 'runtime-musl',
    target,
    recipe: import.meta.url,
    sources: { node: source },
    files: { native: NATIVE },
    inputs: { ...compiler.inputs, ...(allocator ? { allocator } : {}) },
    tools: compiler.tools,
    async build(context) {
      const root = join(context.dir, 'root');
      const options = compiler.options(context);
      const node = await unpackNode(context, { program: `${compiler.prefix}strip`, options });
      await adaptBinary(join(root, 'bin/node'), loaderOf(target));
      await mkdir(join(root, 'lib'));
      await copyLibraries(context, compiler, root, node);
      if (allocator) await cp(join(context.input('allocator'), 'preload.so'), join(root, PRELOAD));
      await writeInfo(context, 'musl', version);
    },
  };
}

/** The file name of musl, which is also its own loader. */
const loaderOf = ({ cross }: Target): string => `ld-musl-${cross.muslArch}.so.1`;

/**
 * Sets musl's loader as the program's interpreter, and the stack size of threads. Programs that detect the C library
 * look for the interpreter's name, too.
 */
async function adaptBinary(path: string, loader: string): Promise<void> {
  const node = await readFile(path);
  try {
    setInterpreter(node, `/lib/${loader}`);
    setThreadStack(node);
  } catch (error) {
    throw new NodeosError(`bin/node of Node.js: ${(error as Error).message}`, { cause: error });
  }
  await writeFile(path, node);
}

/**
 * Replaces the interpreter of a program.
 * @param binary a 64-bit little-endian ELF program, which is changed in place
 * @param path the new interpreter, at most as long as the old one
 * @throws Error if the program has no interpreter, or if the new path is too long
 */
export function setInterpreter(binary: Buffer, path: string): void {
  const segment = segmentsOf(binary).find(({ type }) => type === PT_INTERP);
  if (!segment) throw new Error('it has no interpreter');
  if (path.length >= segment.size) throw new Error(`there is no room for ${path} as its interpreter`);
  binary.fill(0, segment.offset, segment.offset + segment.size).write(path, segment.offset, 'latin1');
}

/**
 * Copies musl and the libraries that the binary needs. The link gives musl the soname that addons compiled on a system
 * with musl ask for.
 */
async function copyLibraries(context: StepContext, compiler: Compiler, root: string, node: Elf): Promise<void> {
  const options = compiler.options(context);
  const gcc = (...args: string[]): Promise<{ stdout: string }> => context.run(`${compiler.prefix}gcc`, args, options);
  const find = async (name: string): Promise<string> => (await gcc(`-print-file-name=${name}`)).stdout.trim();
  const lib = join(root, 'lib');
  const loader = loaderOf(context.target);
  await cp(await find('libc.so'), join(lib, loader));
  await chmod(join(lib, loader), 0o755);
  await symlink(loader, join(lib, `libc.musl-${context.target.cross.muslArch}.so.1`));
  for (const name of node.needed) {
    if (MUSL_LIBRARIES.test(name)) continue;
    if (GLIBC_LOADER.test(name)) await compileCompatibility(context, gcc, join(lib, name), name);
    else await cp(checkFound(name, await find(name)), join(lib, name), { dereference: true });
  }
}

/** For a file that it does not find, `gcc -print-file-name` prints the bare name. */
function checkFound(name: string, path: string): string {
  if (path !== name) return path;
  throw new NodeosError(`the runtime needs ${name}, which the toolchain does not have`);
}

async function compileCompatibility(
  context: StepContext,
  gcc: (...args: string[]) => Promise<unknown>,
  to: string,
  soname: string,
): Promise<void> {
  const flags = ['-O2', '-g0', '-Wall', '-Wextra', '-Werror', '-fno-ident', '-fPIC', '-fvisibility=hidden'];
  const link = ['-shared', '-s', '-nostartfiles', '-Wl,--build-id=none', `-Wl,-soname,${soname}`];
  // The library defines functions that GCC has builtins for, with other types.
  await gcc(...flags, '-fno-builtin', ...link, '-o', to, join(context.file('native'), 'glibc.c'));
}
