/** The C library. https://musl.libc.org */
import { join } from 'node:path';
import { patch, unpack, type Step, type StepContext, type Target } from '@nodeos/build';
import { compilerFlags, merge } from './autotools.js';
import { MUSL, MUSL_FIXES } from './sources.js';

/** Which of the fixes that Debian carries are applied, in this order, and why. */
const FIXES: readonly (readonly [file: string, why: string])[] = [
  ['CVE-2025-26519-0001_iconv_fix_erroneous_input_validation_in_EUC_KR_decod.patch', 'out-of-bounds read in iconv'],
  ['CVE-2025-26519-0002_iconv_harden_UTF_8_output_code_path_against_input_de.patch', 'its way to a write'],
  ['0001-fix-pathological-slowness-incorrect-mappings-in-icon.patch', 'a second of work for each character of gb18030'],
  ['0002-qsort-fix-leonardo-heap-corruption-from-bug-in-doubl.patch', 'CVE-2026-40200: qsort overflows its stack'],
];

/** Unpacks the source and applies the fixes. */
export async function unpackMusl(context: StepContext): Promise<void> {
  const { source } = await unpack(context, 'musl');
  const fixes = (await unpack(context, 'musl-fixes')).source;
  for (const [file] of FIXES) await patch(context, source, join(fixes, 'patches', file));
}

/**
 * @param compiler a step with a compiler for the target that needs no C library
 * @param headers a step with the headers of kernel and library
 * @returns a step whose output is a sysroot
 */
export function musl(target: Target, compiler: Step, headers: Step): Step {
  const { triplet } = target.cross;
  return {
    name: 'toolchain-musl',
    target,
    recipe: import.meta.url,
    parameters: { cross: target.cross },
    sources: { musl: MUSL, 'musl-fixes': MUSL_FIXES },
    inputs: { compiler, headers },
    async build(context) {
      await unpackMusl(context);
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
