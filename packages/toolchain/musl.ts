/** The C library. https://musl.libc.org */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Target } from '@nodeos/targets';
import { patchAll, type Step } from '@nodeos/engine';
import { compilerFlags, merge } from './autotools.js';
import { unpackMusl } from './musl-source.js';
import { MUSL, MUSL_FIXES } from './sources.js';

/** NodeOS's own patches; each begins with its reason. They must not change headers, which headers.ts does not patch. */
const PATCHES = fileURLToPath(new URL('../patches/musl', import.meta.url));

/**
 * @param compiler a step with a compiler for the target that works without a C library
 * @param headers a step with the headers of the kernel and of musl
 * @returns a step whose output is a sysroot
 */
export function musl(target: Target, compiler: Step, headers: Step): Step {
  const { triplet } = target.cross;
  return {
    name: 'toolchain-musl',
    target,
    recipe: import.meta.url,
    sources: { musl: MUSL, 'musl-fixes': MUSL_FIXES },
    files: { patches: PATCHES },
    inputs: { compiler, headers },
    async build(context) {
      await unpackMusl(context);
      await patchAll(context, join(context.work, 'musl'), context.file('patches'));
      const options = {
        cwd: join(context.work, 'musl'),
        path: [join(context.input('compiler'), 'bin')],
        env: { CROSS_COMPILE: `${triplet}-` },
      };
      const configuration = [`--target=${triplet}`, '--prefix=/usr', `CFLAGS=${compilerFlags(context)}`];
      await context.run('./configure', configuration, options);
      await context.run('make', [`-j${context.jobs}`], options);
      await merge([context.input('headers')], context.dir);
      await context.run('make', ['install', `DESTDIR=${context.dir}`], options);
    },
  };
}
