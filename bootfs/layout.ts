/** What the layouts of boot media share. */
import { createHash } from 'node:crypto';
import { roundUp, type Region } from '@nodeos/block';
import { guidOf } from '@nodeos/fs';
import type { Target } from '@nodeos/targets';
import type { Entry } from '@nodeos/tree';
import { encodeBootState, STATE_COPIES, STATE_LENGTH, type BootState } from './boot-state.js';
import { hostFile, type HostFile } from './host-file.js';

/** Partitions start at multiples of this, in bytes: a multiple of all sectors, pages and most erase blocks. */
export const ALIGN = 1 << 20;
export const LABEL = 'NODEOS';
/** Seconds after which the hardware resets a machine whose PID 1 does not run. */
export const WATCHDOG = 60;

/** What a medium is made of. */
export interface Contents {
  readonly target: Target;
  readonly uki: HostFile;
  readonly usr: HostFile;
  /** The folder of the boot loaders. */
  readonly loaders: string;
}

/** A medium as regions, in order, and its size in bytes. */
export interface Layout {
  readonly list: readonly Region[];
  readonly size: number;
}

export const stateRegions = (state: BootState): Region[] =>
  STATE_COPIES.map((offset) => ({ offset, length: STATE_LENGTH, source: encodeBootState(state) }));

export const sorted = (list: readonly Region[]): Region[] =>
  [...list].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));

/** The regions of an image that starts at `start` bytes of another one. */
export function placedAt(list: readonly Region[], start: number): Region[] {
  let end = 0;
  return list.map((region) => {
    const offset = region.offset ?? end;
    end = offset + region.length;
    return { ...region, offset: start + offset };
  });
}

/** @param file a file of this machine */
export const entryAt = async (path: string, file: string): Promise<Entry> => entryOf(path, await hostFile(file));

/** Bytes of a slot for so many: with room for half as much again, because later versions are larger. */
export const slotSize = (bytes: number, unit: number): number => roundUp(Math.ceil(bytes * 1.5), unit);

export function entryOf(path: string, { file: name, size, mtime }: HostFile): Entry {
  const host = { file: name, mtime };
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size, host };
}

/** Ids that differ between builds and between uses, and are the same in every run. */
export const derivedId = (usr: string, use: string): string =>
  guidOf(createHash('sha256').update(`${usr} ${use}`).digest());
