/** Programs of others, cross-compiled with their own build systems: steps like any other, so that they are kept. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  build,
  debianPlaces,
  plainProgress,
  targetOf,
  unpack,
  DEFAULT_TARGET,
  type Source,
  type Step,
  type StepContext,
} from '@nodeos/build';
import { LINUX } from '@nodeos/kernel';
import { crossCompiler, toolchainSteps } from '@nodeos/toolchain';

const target = targetOf(DEFAULT_TARGET);
const compiler = crossCompiler(target, toolchainSteps(target, LINUX));

function source(name: string, version: string, debian: string, file: string, sha256: string, sha1: string): Source {
  const member = { package: name, version: debian, suite: 'trixie', member: file };
  return { name, version, places: debianPlaces(member, sha256, sha1) };
}

const ZLIB = source(
  'zlib',
  '1.3.1',
  '1:1.3.dfsg+really1.3.1-1',
  'zlib_1.3.dfsg+really1.3.1.orig.tar.gz',
  '60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb',
  '3b19b81105d3436095134a648c521b678905eaac',
);
const DOUBLE_CONVERSION = source(
  'double-conversion',
  '3.3.1',
  '3.3.1-1',
  'double-conversion_3.3.1.orig.tar.gz',
  'fe54901055c71302dcdc5c3ccbe265a6c191978f3761ce1414d0895d6b0ea90e',
  'e2b0360379d1c5e86c68efb2cf4f9aa2c69d715f',
);
const POSIX_TESTS = source(
  'posixtestsuite',
  '1.5.2',
  '1.5.2-8',
  'posixtestsuite_1.5.2.orig.tar.gz',
  '15a2185672127cba851d35ec9d538ff6148defdbb75f99c7e9c50aeba0f94757',
  '7fa215c8e5a53f58d324cef1997edfea52f3d678',
);

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
  return (await build(wanted, { progress, jobs: 2 })).map(({ output }) => output);
}
