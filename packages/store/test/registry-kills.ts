/** Processes that push to a registry and collect there, killed at random moments; each tag must stand for a whole image. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory } from '@nodeos/block';
import { findImage, openImage, openStore, openWritableStore, push } from '@nodeos/store';
import { contentsOf } from './helpers.js';
import { BLOCK, imageNumber } from './numbered.js';

export const TAGS = ['t0', 't1', 't2', 't3'];

export interface RegistryKilled {
  readonly kills: number;
  /** Images that were read as a whole after a kill. */
  readonly read: number;
  /** Pushes that were said to be done. */
  readonly pushed: number;
  /** Images that collections have moved, and manifests that they have deleted. */
  readonly updated: number;
  readonly deleted: number;
  /** Pushes that a collection has undone at the same moment, which docs/store.md says can happen. */
  readonly overwritten: number;
  readonly problems: readonly string[];
}

/**
 * @param url of a repository that has nothing
 * @param draw numbers from 0 to 1
 */
export async function killingInRegistry(url: string, kills: number, draw: () => number): Promise<RegistryKilled> {
  /** Numbers of the newest image that a tag has got for certain, and of the one before it. */
  const newest = new Map<string, number>();
  const before = new Map<string, number>();
  for (const [number, tag] of TAGS.entries()) {
    const image = await imageNumber(memory, number);
    await push(image, openWritableStore(url), tag, { blockSize: BLOCK, filesystem: String(number), bases: TAGS });
    newest.set(tag, number);
  }
  const problems: string[] = [];
  let [read, pushed, updated, deleted, overwritten] = [0, 0, 0, 0, 0];
  for (let round = 0; round < kills; round++) {
    const workers = ['push', 'gc'].map((job) =>
      spawn(process.execPath, [join(import.meta.dirname, 'registry-worker.js'), job, url, String(100 * (round + 1))]),
    );
    let [said, failed] = ['', ''];
    for (const { stdout, stderr } of workers) {
      stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
      stderr.on('data', (bytes: Buffer) => (failed += bytes.toString()));
    }
    await Promise.all(workers.map((worker) => Promise.race([once(worker.stdout, 'data'), once(worker, 'exit')])));
    await sleep(draw() * 2500);
    for (const worker of workers) {
      const isAlive = worker.exitCode === null && worker.signalCode === null;
      if (!isAlive) problems.push(`a worker ended by itself: ${worker.signalCode ?? ''} ${failed}`);
      const closed = isAlive ? once(worker, 'close') : undefined;
      worker.kill('SIGKILL');
      await closed;
    }
    for (const [, tag = '', number = ''] of said.matchAll(/^(t\d) (\d+)$/gm)) {
      before.set(tag, newest.get(tag) ?? 0);
      newest.set(tag, Number(number));
      pushed++;
    }
    for (const [, images = '', manifests = ''] of said.matchAll(/^collected (\d+) (\d+)$/gm)) {
      updated += Number(images);
      deleted += Number(manifests);
    }
    for (const tag of TAGS) {
      const found = await problemsOf(url, tag, newest.get(tag) ?? 0);
      const older = found.length === 0 ? found : await problemsOf(url, tag, before.get(tag) ?? 0);
      if (found.length > older.length) {
        overwritten++;
        newest.set(tag, before.get(tag) ?? 0);
      }
      problems.push(...older);
      read++;
    }
  }
  return { kills, read, pushed, updated, deleted, overwritten, problems };
}

/** What is wrong with an image. @param least it has this number, or a later one */
export async function problemsOf(url: string, tag: string, least: number): Promise<string[]> {
  try {
    const store = openStore(url);
    const image = await findImage(store, tag, undefined);
    const number = Number(image.recipe.filesystem);
    const found = await contentsOf(await openImage(image, store.chunks));
    const expected = await contentsOf(await imageNumber(memory, number));
    return [
      ...(found.equals(expected) ? [] : [`${tag}: other bytes than those of ${number}`]),
      ...(number >= least ? [] : [`${tag} has ${number}, after ${least} was pushed`]),
    ];
  } catch (error) {
    return [`${tag}: ${String(error)}`];
  }
}
