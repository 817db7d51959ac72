/**
 * The source of the C library. It is separate from the recipe, because the compiler needs musl's headers. This way, a
 * change to the recipe or to a NodeOS patch does not rebuild the compiler.
 */
import { join } from 'node:path';
import { patch, unpack, type StepContext } from '@nodeos/engine';

/** The fixes from Debian's package that are applied, in this order, and the reason for each. */
const FIXES: readonly (readonly [file: string, reason: string])[] = [
  ['CVE-2025-26519-0001_iconv_fix_erroneous_input_validation_in_EUC_KR_decod.patch', 'out-of-bounds read in iconv'],
  [
    'CVE-2025-26519-0002_iconv_harden_UTF_8_output_code_path_against_input_de.patch',
    'stops such a read from causing a write',
  ],
  ['0001-fix-pathological-slowness-incorrect-mappings-in-icon.patch', 'gb18030: a second of work for each character'],
  ['0002-qsort-fix-leonardo-heap-corruption-from-bug-in-doubl.patch', 'CVE-2026-40200: qsort overflows its stack'],
];

/** Unpacks the source into the folder `musl`, and applies the fixes. */
export async function unpackMusl(context: StepContext): Promise<void> {
  const { source } = await unpack(context, 'musl');
  const fixes = (await unpack(context, 'musl-fixes')).source;
  for (const [file] of FIXES) await patch(context, source, join(fixes, 'patches', file));
}
