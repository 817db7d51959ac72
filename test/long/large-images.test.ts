/** Images of 16 GiB take no more than 300 MiB of memory, and no longer than their contents need. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { random } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LONG, ROOT } from '../support.js';

const run = promisify(execFile);
const MIB = 1 << 20;
const GIB = 2 ** 30;
/** KiB of one process, at most. */
const MEMORY = 300 * 1024;
const MAKER = fileURLToPath(new URL('large-image.js', import.meta.url));
const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');

interface Used {
  /** Of the processor: the time until a disk has everything says nothing of this program. */
  readonly seconds: number;
  readonly stdout: string;
}

/** Runs a program. @returns the processor time that it took. @throws Error if it had more memory than it may have */
async function measured(what: string, args: readonly string[]): Promise<Used> {
  const { stdout, stderr } = await run('/usr/bin/time', ['-f', '%M %U %S', process.execPath, ...args], {
    maxBuffer: 1 << 28,
  });
  const [kibibytes = NaN, user = NaN, system = NaN] = stderr.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  const seconds = user + system;
  console.log(`${what}: ${seconds.toFixed(1)} s of the processor, ${Math.round(kibibytes / 1024)} MiB`);
  expect(kibibytes, what).toBeLessThan(MEMORY);
  return { seconds, stdout };
}

/** A folder with files of 3 GiB, each with data at its start, in its middle and at its end, and with many small files. */
async function tree(folder: string, { large, data, small }: { large: number; data: number; small: number }) {
  const next = random(5);
  const bytes = Buffer.from(Array.from({ length: MIB }, () => next() * 256));
  mkdirSync(folder);
  for (let n = 0; n < large; n++) {
    const handle = await open(join(folder, `large-${n}`), 'w');
    const size = 3 * GIB;
    await handle.truncate(size);
    for (const part of [0, size / 2, size - (data / 3) * MIB])
      for (let at = 0; at < (data / 3) * MIB; at += MIB) await handle.write(bytes, 0, MIB, part + at);
    await handle.close();
  }
  for (let n = 0; n < small; n++) {
    if (n % 1000 === 0) mkdirSync(join(folder, `small-${n / 1000}`));
    await writeFile(
      join(folder, `small-${Math.floor(n / 1000)}`, `${n}`),
      bytes.subarray(n % MIB, (n % MIB) + (n % 3000)),
    );
  }
}

const blocksOf = async (path: string): Promise<number> => (await stat(path)).blocks * 512;

describe('images of 16 GiB', { timeout: LONG }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-large-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const [full, little] = [join(folder, 'full'), join(folder, 'little')];
  beforeAll(async () => {
    // 15 GiB of files, of which 480 MiB are data, and 20 000 small files; and the same data in 3 GiB.
    await tree(full, { large: 5, data: 96, small: 20_000 });
    await tree(little, { large: 1, data: 480, small: 20_000 });
  }, LONG);

  it.each(['erofs', 'fat', 'iso', 'disk'])('%s: written, with holes, in the time that the data take', async (kind) => {
    const [image, other] = [join(folder, 'image'), join(folder, 'other')];
    const first = await measured(`${kind} of 15 GiB`, [MAKER, kind, full, image]);
    const second = await measured(`${kind} of 3 GiB with as much data`, [MAKER, kind, little, other]);
    const [a, b] = [await blocksOf(image), await blocksOf(other)];
    expect(a).toBeLessThan(700 * MIB);
    expect(Math.abs(a - b)).toBeLessThan(64 * MIB);
    expect(first.seconds).toBeLessThan(2 * second.seconds + 5);
    if (kind === 'erofs') await run('fsck.erofs', [image]);
    if (kind === 'iso') await run('isoinfo', ['-J', '-l', '-i', image], { maxBuffer: 1 << 28 });
    await rm(image);
    await rm(other);
  });

  it.each([
    ['erofs', ''],
    ['fat', ''],
    ['iso', ''],
    ['disk', 'partition:1:'],
  ])('%s: described, listed, unpacked', async (kind, prefix) => {
    const image = join(folder, 'image');
    await run(process.execPath, [MAKER, kind, full, image]);
    const info = await measured(`nodeos image info, ${kind}`, [CLI, 'image', 'info', image]);
    expect(info.stdout).toMatch(/erofs|fat|iso9660/);
    const { stdout } = await measured(`nodeos image ls, ${kind}`, [CLI, 'image', 'ls', prefix + image]);
    expect(stdout.trim().split('\n')).toHaveLength(20_000 + 20 + 5);
    const to = join(folder, 'to');
    const unpacked = await measured(`nodeos image extract, ${kind}`, [CLI, 'image', 'extract', prefix + image, to]);
    expect(await readdir(to)).toHaveLength(20 + 5);
    expect((await stat(join(to, 'large-0'))).blocks * 512).toBeLessThan(110 * MIB);
    await run('diff', ['-rq', '--exclude=large-[1-9]', full, to]);
    await rm(to, { recursive: true });
    await run(process.execPath, [MAKER, kind, little, image]);
    const other = await measured(`of 3 GiB with as much data`, [CLI, 'image', 'extract', prefix + image, to]);
    expect(unpacked.seconds).toBeLessThan(1.5 * other.seconds + 2);
    await rm(to, { recursive: true });
    await rm(image);
  });

  it('a disk is flashed to a file, with holes, and verified', async () => {
    const [image, target] = [join(folder, 'image'), join(folder, 'target')];
    await run(process.execPath, [MAKER, 'disk', full, image]);
    await writeFile(target, '');
    await run('truncate', ['-s', String(16 * GIB), target]);
    await measured('nodeos flash', [CLI, 'flash', image, target, '--yes']);
    await run('cmp', [image, target]);
    expect(await blocksOf(target)).toBeLessThan(700 * MIB);
    await rm(image);
    await rm(target);
  });
});
