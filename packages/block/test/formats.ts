/** Images made by the usual tools of each format, and checks with corrupted images. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { memory } from '../index.js';
import { random } from '../random.js';
import { errorOf } from './helpers.js';

export const tool = (name: string, ...args: string[]): string =>
  execFileSync(name, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });

/** A device with these bytes. */
export function device(bytes: Uint8Array): BlockBackend {
  const backend = memory(bytes.length, { pageSize: 4096 });
  void backend.write?.(bytes, 0);
  return backend;
}

export const fileDevice = (path: string): BlockBackend => device(readFileSync(path));

/** @param blockSize bytes of each block; there may be several */
export function xzOf(path: string, blockSize: number, ...options: string[]): Buffer {
  return execFileSync('xz', ['--stdout', `--block-size=${blockSize}`, '-0', ...options, path], { maxBuffer: 64 << 20 });
}

/** Frames of `frameSize` bytes, each made by zstd, with the seek table of the specification behind them. */
export function zstdOf(content: Uint8Array, frameSize: number, path: (name: string) => string, table = true): Buffer {
  const names: string[] = [];
  for (let at = 0; at < content.length || at === 0; at += frameSize) {
    const name = path('frame');
    writeFileSync(name, content.subarray(at, at + frameSize));
    names.push(name);
  }
  tool('zstd', '--quiet', '-1', ...names);
  const frames = names.map((name) => readFileSync(`${name}.zst`));
  if (!table) return Buffer.concat(frames);
  const entries = frames.map((frame, index) =>
    u32(frame.length, Math.min(frameSize, content.length - index * frameSize)),
  );
  const seekTable = Buffer.concat([...entries, u32(frames.length), Buffer.from([0]), u32(0x8f92eab1)]);
  return Buffer.concat([...frames, u32(0x184d2a5e, seekTable.length), seekTable]);
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
}

export function qcow2Of(raw: string, path: string, ...options: string[]): Buffer {
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path);
  return readFileSync(path);
}

/** An archive of files in one folder. */
export function tarOf(paths: readonly string[], ...options: string[]): Buffer {
  const names = paths.map((path) => basename(path));
  return execFileSync('tar', ['--create', ...options, '-C', dirname(paths[0] ?? ''), ...names], {
    maxBuffer: 64 << 20,
  });
}

interface Part {
  readonly type: number;
  /** Sectors. */
  readonly first: number;
  readonly count: number;
}

/** The first sector of an MBR disk with these entries. */
export function mbrOf(parts: readonly Part[]): Buffer {
  const sector = Buffer.alloc(512);
  for (const [index, { type, first, count }] of parts.entries()) {
    sector[446 + 16 * index + 4] = type;
    u32(first, count).copy(sector, 446 + 16 * index + 8);
  }
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** A disk with one GPT partition that holds the content. The backup table is at the end. */
export function gptOf(content: Uint8Array, sectorSize: number, name = 'root'): Buffer {
  const sectors = Math.ceil(content.length / sectorSize);
  const listSectors = Math.ceil((128 * 128) / sectorSize);
  const first = 2 + listSectors;
  const disk = Buffer.alloc((first + sectors + listSectors + 1) * sectorSize);
  const last = disk.length / sectorSize - 1;
  mbrOf([{ type: 0xee, first: 1, count: last }]).copy(disk);
  disk.set(content, first * sectorSize);
  const list = Buffer.alloc(128 * 128);
  Buffer.from('4f68bce3e8cd4db196e7fbcaf984b709', 'hex').copy(list, 0);
  list.fill(7, 16, 32);
  list.writeBigUInt64LE(BigInt(first), 32);
  list.writeBigUInt64LE(BigInt(first + sectors - 1), 40);
  list.write(name, 56, 'utf16le');
  for (const [ownSector, otherSector, at] of [
    [1, last, 2],
    [last, 1, last - listSectors],
  ] as const) {
    // prettier-ignore
    const header = Buffer.alloc(92);
    header.write('EFI PART');
    header.set(u32(0x10000, 92), 8);
    for (const [position, value] of [[24, ownSector], [32, otherSector], [40, first], [48, first + sectors - 1], [72, at]] as const) header.writeBigUInt64LE(BigInt(value), position); // prettier-ignore
    header.set(u32(128, 128, crc32(list)), 80);
    header.writeUInt32LE(crc32(header), 16);
    header.copy(disk, ownSector * sectorSize);
    list.copy(disk, at * sectorSize);
  }
  return disk;
}

/**
 * Corrupts an image in many ways. Each result must open and be readable, or be refused with a code, in bounded time and
 * memory.
 */
export async function expectRobust(
  image: Buffer,
  open: (inner: BlockBackend) => Promise<BlockBackend>,
  { runs = 200, near = [0], seed = 1 }: { runs?: number; near?: readonly number[]; seed?: number } = {},
): Promise<void> {
  const nextRandom = random(seed);
  const outcomes = { opened: 0, refused: 0 };
  for (let run = 0; run < runs; run++) {
    const corrupted = Buffer.from(image);
    for (let count = 1 + Math.floor(nextRandom() * 6); count > 0; count--) {
      const start = near[Math.floor(nextRandom() * near.length)] ?? 0;
      const at =
        nextRandom() < 0.7 ? start + Math.floor(nextRandom() * 128) : Math.floor(nextRandom() * corrupted.length);
      corrupted[Math.min(at, corrupted.length - 1)] = [0, 1, 0x7f, 0x80, 0xff, Math.floor(nextRandom() * 256)][Math.floor(nextRandom() * 6)] ?? 0; // prettier-ignore
    }
    const truncated =
      nextRandom() < 0.2 ? corrupted.subarray(0, Math.floor(nextRandom() * corrupted.length)) : corrupted;
    const inner = device(truncated);
    const error = await errorOf(async () => {
      const opened = await open(inner);
      outcomes.opened++;
      const length = Math.min(4096, opened.size);
      for (const part of [0, 0.5, 1])
        await opened.read(new Uint8Array(length), Math.floor(part * (opened.size - length)));
      await opened.extents?.(0, Math.min(opened.size, 1 << 20));
      throw new Error('fine');
    });
    if (error.message === 'fine') continue;
    outcomes.refused++;
    expect([error.code, error.message], error.stack).toEqual([expect.stringMatching(/^E[A-Z]+$/), expect.any(String)]);
  }
  expect(outcomes.opened).toBeGreaterThan(0);
  expect(outcomes.refused).toBeGreaterThan(0);
}
