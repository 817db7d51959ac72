/** Images of a tree of about 1 GB: ours, only described and written, against mkfs.erofs. All are uncompressed and durable. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { erofs, writeErofs } from '@nodeos/fs';
import { fromDirectory } from '@nodeos/tree';
import { note, round, type Row } from './machines.js';
import { median } from './measure.js';

const run = promisify(execFile);
const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
const COPIES = 5;

export async function erofsImages(runs: number): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-'));
  try {
    const [tree, ours, theirs] = ['tree', 'ours.erofs', 'theirs.erofs'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (let copy = 1; copy <= COPIES; copy++)
      await cp(MODULES, join(tree, String(copy)), { recursive: true, verbatimSymlinks: true });
    const { stdout } = await run('du', ['-sm', tree]);
    const ways = {
      'described, s': async () => {
        await erofs(fromDirectory(tree));
      },
      'written, s': async () => {
        await writeErofs(fromDirectory(tree), ours);
      },
      'mkfs.erofs, s': async () => {
        await run('mkfs.erofs', ['--quiet', '-T0', '--all-root', theirs, tree]);
        await run('sync', ['-d', theirs]);
      },
    };
    const times = new Map(Object.keys(ways).map((name) => [name, [] as number[]]));
    // The first round fills the page cache, and does not count.
    for (let turn = 0; turn <= runs; turn++) {
      note(`EROFS, round ${turn} of ${runs}`);
      for (const [name, work] of Object.entries(ways)) {
        await Promise.all([rm(ours, { force: true }), rm(theirs, { force: true })]);
        const started = performance.now();
        await work();
        if (turn > 0) times.get(name)?.push((performance.now() - started) / 1000);
      }
    }
    const of = (name: keyof typeof ways): number => median(times.get(name) ?? []);
    return {
      'tree, MiB': Number.parseInt(stdout, 10),
      ...Object.fromEntries([...times].map(([name, list]) => [name, round(median(list))])),
      'mkfs.erofs / described': round(of('mkfs.erofs, s') / of('described, s')),
      'mkfs.erofs / written': round(of('mkfs.erofs, s') / of('written, s')),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
