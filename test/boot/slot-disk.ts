/** Disks with both slots filled, as an update would leave them, and machines that boot them. */
import { execFile } from 'node:child_process';
import { copyFile, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { file, partitions } from '@nodeos/block';
import {
  currentBootState,
  decodeSlotHead,
  encodeBootState,
  encodeSlotHead,
  HEAD_LENGTH,
  STATE_COPIES,
  STATE_LENGTH,
  type BootState,
  type Slot,
} from '@nodeos/bootfs';
import type { Firmware } from '@nodeos/targets';
import { runMachine, type Drive, type RunMachineOptions } from '@nodeos/vm';
import { expect } from 'vitest';
import { ROOT } from '../support.js';
import { EMULATED_PC } from './emulated.js';

const run = promisify(execFile);

/** The id of slot b's runtime. */
const OTHER_ID = '01234567-89ab-8cde-8f01-23456789abcd';
const USR_B = 5;

/** Where a partition is on a disk, in bytes. */
interface Place {
  readonly offset: number;
  readonly length: number;
}

export interface SlotDisk {
  readonly path: string;
  readonly heads: Readonly<Record<Slot, number>>;
  copies(): Promise<[Buffer, Buffer]>;
  state(): Promise<BootState>;
  /** Writes both copies. */
  setState(change: Pick<BootState, 'slot' | 'tries'> & { bIsValidated?: boolean }): Promise<void>;
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
}

/** A new image in a folder, whose slot b has a system of its own, with its own runtime. */
export async function diskWithBoth(folder: string): Promise<SlotDisk> {
  const { stdout } = await run(process.execPath, [join(ROOT, 'bin/nodeos'), 'build', 'disk']);
  const path = join(folder, 'disk.img');
  await copyFile(join(stdout.trim().replace(/^\S+: /, ''), 'nodeos.img'), path);
  const places = await placesOf(path);
  const handle = await open(path, 'r+');
  try {
    await fillBootB(handle, places('boot-a'), places('boot-b'));
  } finally {
    await handle.close();
  }
  const { offset, length } = places('usr-a');
  const seek = places('usr-b').offset;
  await run('dd', [`if=${path}`, `of=${path}`, 'conv=notrunc,sparse', 'bs=1M', ...blocks(offset, length, seek)]);
  await run('sgdisk', ['-u', `${USR_B}:${OTHER_ID}`, path]);
  return slotDisk(path, { a: places('boot-a').offset, b: places('boot-b').offset });
}

const blocks = (offset: number, length: number, seek: number): string[] =>
  Object.entries({ skip: offset, count: length, seek }).map(([name, bytes]) => `${name}=${bytes / (1 << 20)}`);

async function placesOf(path: string): Promise<(name: string) => Place> {
  const device = await file(path, { readOnly: true });
  const all = await partitions(device).finally(() => device.close());
  return (name) => {
    const found = all.find((partition) => partition.name === name);
    if (!found) throw new Error(`there is no partition ${name}`);
    return found;
  };
}

/** Copies slot a, and lets the copy look for another runtime: both loaders have the command line in their own place. */
async function fillBootB(handle: FileHandle, from: Place, to: Place): Promise<void> {
  const bytes = await bytesAt(handle, from.offset, from.length);
  const head = decodeSlotHead(bytes);
  const id = /mount\.usr=PARTUUID=(\S+)/.exec(head.commandLine)?.[1] ?? '';
  const commandLine = head.commandLine.replace(id, OTHER_ID);
  for (let at = bytes.indexOf(id, HEAD_LENGTH); at >= 0; at = bytes.indexOf(id, at + 1)) bytes.write(OTHER_ID, at);
  encodeSlotHead({ ...head, commandLine }).copy(bytes);
  await handle.write(bytes, 0, bytes.length, to.offset);
}

async function bytesAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await handle.read(bytes, 0, length, offset);
  return bytes;
}

function slotDisk(path: string, heads: SlotDisk['heads']): SlotDisk {
  const using = async <T>(use: (handle: FileHandle) => Promise<T>): Promise<T> => {
    const handle = await open(path, 'r+');
    return use(handle).finally(() => handle.close());
  };
  const disk: SlotDisk = {
    path,
    heads,
    async copies() {
      const [first, second] = STATE_COPIES;
      return [await disk.read(first, STATE_LENGTH), await disk.read(second, STATE_LENGTH)];
    },
    async state() {
      const current = currentBootState(await disk.copies());
      if (!current) throw new Error('both copies of the state are broken');
      return current.state;
    },
    async setState({ slot, tries, bIsValidated = false }) {
      const slots = { a: { head: heads.a, validated: true }, b: { head: heads.b, validated: bIsValidated } };
      for (const offset of STATE_COPIES) await disk.write(offset, encodeBootState({ sequence: 1, slot, tries, slots }));
    },
    read: (offset, length) => using((handle) => bytesAt(handle, offset, length)),
    write: (offset, bytes) =>
      using(async (handle) => {
        await handle.write(bytes, 0, bytes.length, offset);
      }),
  };
  return disk;
}

export interface Way {
  readonly firmware: Firmware;
  readonly drive: Drive;
  /** What differs from an ordinary PC. */
  readonly machine?: Partial<Pick<RunMachineOptions, 'board' | 'extra'>>;
}

const machineFor = (disk: SlotDisk, { firmware, drive, machine }: Way): RunMachineOptions => ({
  ...EMULATED_PC,
  ...machine,
  medium: { path: disk.path, keeps: true, firmware, drive },
});

interface BootedSlot {
  /** By the command line. */
  readonly slot: string;
  /** The number of the partition of /usr. */
  readonly usr: string;
  /** What the kernel was told of Secure Boot: https://docs.kernel.org/arch/x86/boot.html */
  readonly isSecure: boolean;
  /** The last lines of the console. */
  readonly lines: readonly string[];
}

/** Boots to the application. */
export async function booted(disk: SlotDisk, way: Way): Promise<BootedSlot> {
  let stdout = '';
  const code =
    "const read = (f) => fs.readFileSync(f, 'latin1'), ENABLED = 3;" +
    "console.log(/nodeos\\.slot=(\\S*)/.exec(read('/proc/cmdline'))?.[1], /^\\S*?(\\d+) \\/usr /m.exec(read('/proc/mounts'))[1]," +
    "fs.readFileSync('/sys/kernel/boot_params/data')[0x1ec] === ENABLED)";
  const { status, lines } = await runMachine({
    ...machineFor(disk, way),
    settings: { exec: code },
    ports: { 'nodeos.stdout': (chunk) => void (stdout += chunk.toString()) },
    timeout: 180,
    bootTimeout: 120,
  });
  expect(status, lines.join('\n')).toBe(0);
  const [slot = '', usr = '', isSecure] = stdout.trim().split(' ');
  return { slot, usr, isSecure: isSecure === 'true', lines };
}

/**
 * Starts a machine, and kills it some milliseconds after its console matches, or after its start. @returns its console
 */
export async function killed(disk: SlotDisk, way: Way, end: { at?: RegExp; after?: number }): Promise<string> {
  const { at, after = 0 } = end;
  const kill = new AbortController();
  let text = '';
  const timers: NodeJS.Timeout[] = [];
  const killIn = (milliseconds: number): void => void timers.push(setTimeout(() => kill.abort(), milliseconds));
  killIn(at ? 120_000 : after);
  await runMachine({
    ...machineFor(disk, way),
    kill: kill.signal,
    bootTimeout: 150,
    onConsole: (chunk) => {
      const matched = at?.test(text);
      text += chunk.toString('latin1');
      if (!matched && at?.test(text)) killIn(after);
    },
  }).catch(() => undefined); // it does not end well
  timers.forEach(clearTimeout);
  return text;
}
