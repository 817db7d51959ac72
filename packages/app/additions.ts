/** Files of this machine that a configuration adds to the system, beside the application. */
import { cp, mkdir, stat } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { UsageError } from '@nodeos/base';
import { entryPath } from '@nodeos/contract';
import { artifact, type Step } from '@nodeos/engine';
import type { Part } from '@nodeos/rootfs';
import type { Target } from '@nodeos/targets';
import { fromDirectory } from '@nodeos/tree';

/**
 * The files as a part of the system, owned by root; of the modes, only the executable bit is kept.
 * @param files absolute paths of files and folders of this machine, by their absolute paths in the system
 * @throws UsageError if a file does not exist, or a place is below another one
 */
export async function additionsPart(target: Target, files: Readonly<Record<string, string>>): Promise<Part> {
  await check(files);
  const byPlace = Object.fromEntries(Object.entries(files).map(([place, source]) => [entryPath(place), source]));
  const step: Step = {
    name: 'app-additions',
    target,
    recipe: import.meta.url,
    files: byPlace,
    async build(context) {
      for (const place of Object.keys(byPlace)) {
        const to = join(context.dir, 'files', place);
        await mkdir(dirname(to), { recursive: true });
        await cp(context.file(place), to, { recursive: true, verbatimSymlinks: true });
      }
    },
  };
  return {
    name: step.name,
    artifact: artifact(step, 'folder'),
    recipe: import.meta.url,
    tree: (output) => fromDirectory(join(output, 'files')),
  };
}

async function check(files: Readonly<Record<string, string>>): Promise<void> {
  const places = Object.keys(files);
  for (const [place, source] of Object.entries(files)) {
    const outer = places.find((other) => place.startsWith(`${posix.normalize(other)}/`));
    if (outer !== undefined)
      throw new UsageError(`files: ${place} is below ${outer}, which is a file or folder of its own`);
    const found = await stat(source).catch(() => undefined);
    if (!found) throw new UsageError(`files: ${place} is to be ${source}, which is not there`);
    if (!found.isFile() && !found.isDirectory())
      throw new UsageError(`files: ${place} is to be ${source}, which is neither a file nor a folder`);
  }
}
