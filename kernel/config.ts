/** Reads configuration fragments, and checks that Kconfig kept every option. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NodeosError } from '@nodeos/base';

export interface Fragment {
  readonly name: string;
  readonly text: string;
}

/** @throws NodeosError if the first line of a fragment is not a comment that says what it is for */
export async function readFragments(paths: readonly string[]): Promise<Fragment[]> {
  return Promise.all(
    paths.map(async (path) => {
      const fragment = { name: basename(path), text: await readFile(path, 'utf8') };
      if (!/^# \S+ /.test(fragment.text)) {
        throw new NodeosError(`${path}: the first line must be a comment that says what the fragment is for`);
      }
      return fragment;
    }),
  );
}

/** The paths of the fragments in a folder, in the order of their names. */
export async function fragmentPaths(dir: string): Promise<string[]> {
  return (await readdir(dir))
    .filter((name) => name.endsWith('.config'))
    .sort()
    .map((name) => join(dir, name));
}

/** The lines that set an option: `CONFIG_X=value` or `# CONFIG_X is not set`. `CONFIG_X=n` becomes the latter. */
export function optionsOf(text: string): string[] {
  return text
    .split(/\r?\n/)
    .filter((line) => /^CONFIG_\w+=|^# CONFIG_\w+ is not set$/.test(line))
    .map((line) => line.replace(/^(CONFIG_\w+)=n$/, '# $1 is not set'));
}

/**
 * The options whose lines differ from those in the final `.config`, as lines for a person. Kconfig silently drops an
 * option if something that it depends on is off. If two fragments set the same option, the later one counts.
 */
export function lostOptions(fragments: readonly Fragment[], dotConfig: string): string[] {
  const final = new Map(optionsOf(dotConfig).map((line) => [nameOf(line), line]));
  const wanted = new Map<string, { readonly line: string; readonly fragment: string }>();
  for (const { name, text } of fragments) {
    for (const line of optionsOf(text)) wanted.set(nameOf(line), { line, fragment: name });
  }
  return [...wanted]
    .filter(([option, { line }]) => (final.get(option) ?? offLine(option)) !== line)
    .map(
      ([option, { line, fragment }]) =>
        `${fragment}: ${line} (it became: ${final.get(option) ?? 'unknown to this kernel, or not visible'})`,
    );
}

const nameOf = (line: string): string => /CONFIG_\w+/.exec(line)?.[0] ?? '';
const offLine = (name: string): string => `# ${name} is not set`;
