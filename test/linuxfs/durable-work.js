// Changes files, makes them durable, and says what is durable: what a crash must not take back. As a program:
// durable-work.js KERNEL IMAGE SEED ROUND writes each state as a line of JSON, after the number of the kernel's process.
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import { random } from '@nodeos/block';
import { open } from '@nodeos/linuxfs';

/**
 * The content of a file by the number that identifies it.
 * @param {number} number
 */
export function contentOf(number) {
  const next = random(number);
  return Buffer.alloc(Math.floor(next() ** 3 * 200_000), `${number}:${Math.floor(next() * 1e9)};`);
}

/**
 * Changes files until it fails.
 * @param {import('@nodeos/linuxfs').MountedFilesystem} mounted
 * @param {number} seed of the choices
 * @param {number} round the numbers of its contents begin with round * 10,000
 * @param {(path: string, state: number | null | 'unknown') => void} report a path has the content of a number, or
 *   nothing, durably; or something is being done to it
 * @returns {Promise<never>}
 */
export async function work(mounted, seed, round, report) {
  const { promises } = mounted;
  const next = random(seed);
  const pick = (/** @type {number} */ below) => Math.floor(next() * below);
  /** @type {string[]} */
  const files = [];
  await promises.mkdir(`/r${round}`);
  await mounted.sync(); // of FAT, a file's fsync does not make its folder durable
  for (let number = round * 10_000; ; number++) {
    const kind = files.length < 3 ? 0 : pick(6);
    const path = kind === 0 || kind === 5 ? `/r${round}/${number}` : (files[pick(files.length)] ?? '');
    report(path, 'unknown');
    if (kind <= 2) {
      const handle = await promises.open(path, kind === 2 ? 'r+' : 'w');
      await handle.truncate(0);
      await handle.writeFile(contentOf(number));
      await (kind === 1 ? handle.datasync() : handle.sync());
      await handle.close();
      report(path, number);
    } else if (kind === 3) {
      await promises.unlink(path);
      await mounted.sync();
      files.splice(files.indexOf(path), 1);
      report(path, null);
    } else if (kind === 4) {
      const to = `/r${round}/${number}-moved`;
      report(to, 'unknown');
      await promises.writeFile(path, contentOf(number));
      await promises.rename(path, to);
      await mounted.sync();
      files.splice(files.indexOf(path), 1, to);
      report(path, null);
      report(to, number);
    } else {
      await Promise.all(
        [0, 1, 2].map((i) => promises.writeFile(`${path}-${i}`, contentOf(number + i), { flush: true })),
      );
      for (const i of [0, 1, 2]) report(`${path}-${i}`, number + i);
      number += 2;
    }
    if (kind === 0) files.push(path);
  }
}

if (process.argv[1]?.endsWith('durable-work.js')) {
  const [, , kernel, image = '', seed, round] = process.argv;
  const say = (/** @type {unknown} */ line) => writeSync(1, `${JSON.stringify(line)}\n`);
  const disk = await open(image, kernel === undefined ? {} : { kernel });
  say(disk.pid);
  await work(await disk.mount(), Number(seed), Number(round), (path, state) => say([path, state]));
}
