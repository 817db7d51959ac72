/** Programs of others, cross-compiled with their own build systems: steps like any other, so that they are kept. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { targetOf, DEFAULT_TARGET } from '@nodeos/targets';
import { build, plainProgress, unpack, type Source, type Step, type StepContext } from '@nodeos/engine';
import { LINUX } from '@nodeos/kernel';
import { crossCompiler, toolchainSteps } from '@nodeos/toolchain';
import { DOUBLE_CONVERSION, POSIX_TESTS, ZLIB } from './sources.js';

const target = targetOf(DEFAULT_TARGET);
const compiler = crossCompiler(target, toolchainSteps(target, LINUX));

function project(source: Source, make: (context: StepContext, source: string) => Promise<void>): Step {
  return {
    name: `test-${source.name}`,
    target,
    recipe: import.meta.url,
    sources: { source },
    inputs: compiler.inputs,
    tools: ['make'],
    build: async (context) => make(context, (await unpack(context, 'source')).source),
  };
}

/** With its own configure script and makefile: the programs of its test suite, with the static and the shared library. */
export const zlib = project(ZLIB, async (context, cwd) => {
  const options = { ...compiler.options(context), cwd };
  await context.run('./configure', [], options);
  const programs = ['example', 'minigzip', 'examplesh', 'minigzipsh', 'example64', 'minigzip64'];
  await context.run('make', [`-j${context.jobs}`, 'libz.a', 'libz.so.1.3.1', ...programs], options);
  for (const name of programs) await cp(join(cwd, name), join(context.dir, name));
  await cp(join(cwd, 'libz.so.1.3.1'), join(context.dir, 'libz.so.1'));
});

/** With CMake and the toolchain's file for it, in C++ with the shared library: its test program. */
export const doubleConversion = project(DOUBLE_CONVERSION, async (context, cwd) => {
  const options = { ...compiler.options(context), cwd };
  const file = join(context.input('toolchain'), 'toolchain.cmake');
  await context.run(
    'cmake',
    ['--toolchain', file, '-B', 'out', '-DBUILD_TESTING=ON', '-DBUILD_SHARED_LIBS=ON', '-DCMAKE_SKIP_RPATH=ON'],
    options,
  );
  await context.run('make', ['-C', 'out', `-j${context.jobs}`], options);
  await cp(join(cwd, 'out/test/cctest/cctest'), join(context.dir, 'cctest'));
  await cp(join(cwd, 'out/libdouble-conversion.so.3'), join(context.dir, 'libdouble-conversion.so.3'), {
    dereference: true,
  });
});

/**
 * What of the Open POSIX Test Suite is compiled: threads, synchronization, signals, memory, dates, strings. Not clocks and
 * timers, which an emulated processor keeps badly.
 */
const INTERFACES =
  /^(pthread_(attr|barrier|cancel|cleanup|cond|create|detach|equal|exit|join|key|mutex|once|rwlock|self|setspecific|sig|spin|testcancel)|sem_|sig(add|del|empty|fill|is|pend|proc|queue|wait)|m(map|unmap|lock)|strftime|mktime|gmtime|localtime|asctime|difftime|strlen|strcpy|raise|kill|killpg)/;

/** Its tests, static, a program each: INTERFACE/NUMBER. Those that do not compile are in a list. */
export const posixTests = project(POSIX_TESTS, async (context, cwd) => {
  const root = join(cwd, 'conformance/interfaces');
  const names = (await readdir(root)).filter((name) => INTERFACES.test(name)).sort();
  const failed: string[] = [];
  const queue: string[] = [];
  for (const name of names) {
    const tests = (await readdir(join(root, name))).filter((file) => /^\d+-\d+\.c$/.test(file)).sort();
    if (tests.length > 0) await mkdir(join(context.dir, name));
    queue.push(...tests.map((file) => join(name, file)));
  }
  const flags = ['-O1', '-static', '-no-pie', '-w', '-D_GNU_SOURCE', `-I${join(cwd, 'include')}`];
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const to = join(context.dir, file.replace(/\.c$/, ''));
      await context
        .run(`${compiler.prefix}gcc`, [...flags, '-o', to, basename(file)], {
          ...compiler.options(context),
          cwd: join(root, file, '..'),
        })
        .catch(() => failed.push(file));
    }
  };
  await Promise.all(Array.from({ length: context.jobs }, work));
  await writeFile(join(context.dir, 'not-compiled.json'), JSON.stringify(failed.sort()));
});

/** @returns the output folder of each */
export async function outputsOf(...wanted: Step[]): Promise<string[]> {
  const progress = plainProgress((text) => process.stderr.write(text));
  return (await build(wanted, { progress, jobs: 2 })).steps.map(({ output }) => output);
}
