/**
 * The C library's source. It is apart from the recipe because the compiler needs the headers: a change of the recipe, or
 * of a patch of ours, does not build the compiler again.
 */
import { join } from 'node:path';
import { patch, unpack, type StepContext } from '@nodeos/engine';

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
