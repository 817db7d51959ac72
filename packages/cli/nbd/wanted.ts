/** The operands of `nodeos nbd serve`. */
import { UsageError } from '@nodeos/base';
import { nameOf, type Wanted } from '@nodeos/disk';

/**
 * Parses `NAME=SOURCE` operands. Without a name, an export is called after the last part of its source, or, if it is
 * the only one, becomes the default export.
 * @throws UsageError for two equal names, or `--export` with several sources
 */
export function wantedOf(operands: readonly string[], name: string | undefined): Wanted[] {
  if (operands.length > 1 && name !== undefined)
    throw new UsageError(`--export ${name}: only with one source`, { hint: `write ${name}=${operands[0]} …` });
  const isOnly = operands.length === 1;
  const all = operands.map((text) => {
    const [, given, source = ''] = /^([^/:=]*)=(.+)$/s.exec(text) ?? [];
    if (given !== undefined) return { name: name ?? given, source };
    return { name: name ?? (isOnly ? '' : nameOf(text)), source: text };
  });
  const duplicate = all.find((wanted, index) => all.findIndex((candidate) => candidate.name === wanted.name) !== index);
  if (duplicate) throw new UsageError(`two sources are called ${duplicate.name}`, { hint: `NAME=${duplicate.source}` });
  return all;
}
