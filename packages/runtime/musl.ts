/**
 * Node.js on musl: the official build, which is made for glibc, with the C library and the C++ library of the toolchain,
 * and a small library of what only glibc has (native/glibc.c).
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

/** What the official build calls glibc's loader, and so the library in its place. */
const GLIBC_LOADER = /^ld-linux[\w-]*\.so\.\d$/;

/** The names that musl has for itself: programs may ask for any of them. */
const MUSL_ITSELF = /^lib(c|m|dl|pthread|rt|util|xnet)\./;

/** @param allocator a step with `preload.so`; without one it is musl's own */
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
      await adapt(join(root, 'bin/node'), loaderOf(target));
      await mkdir(join(root, 'lib'));
      await copyLibraries(context, compiler, root, node);
      if (allocator) await cp(join(context.input('allocator'), 'preload.so'), join(root, PRELOAD));
      await writeInfo(context, 'musl', version);
    },
  };
}

/** musl is its own loader. */
const loaderOf = ({ cross }: Target): string => `ld-musl-${cross.muslArch}.so.1`;

/** The program is started by musl's loader: whoever wants to know on which library it runs looks for that name too. */
async function adapt(path: string, loader: string): Promise<void> {
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
 * @param binary a 64-bit little-endian ELF program; it is changed
 * @throws Error if it has no interpreter, or one whose name is shorter
 */
export function setInterpreter(binary: Buffer, path: string): void {
  const place = segmentsOf(binary).find(({ type }) => type === PT_INTERP);
  if (!place) throw new Error('it has no interpreter');
  if (path.length >= place.size) throw new Error(`there is no room for ${path} as its interpreter`);
  binary.fill(0, place.offset, place.offset + place.size).write(path, place.offset, 'latin1');
}

/** Programs that ask for musl by its own name find it too: addons that were compiled on a system with musl. */
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
    if (MUSL_ITSELF.test(name)) continue;
    if (GLIBC_LOADER.test(name)) await compileCompatibility(context, gcc, join(lib, name), name);
    else await cp(found(name, await find(name)), join(lib, name), { dereference: true });
  }
}

/** GCC says the name alone of what it does not find. */
function found(name: string, path: string): string {
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
  // It takes the place of functions that the compiler knows: theirs are other types.
  await gcc(...flags, '-fno-builtin', ...link, '-o', to, join(context.file('native'), 'glibc.c'));
}
