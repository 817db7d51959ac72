/** The boot loaders, compiled by the host's compiler and started by SeaBIOS: what they say when something is wrong. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StepContext } from '@nodeos/engine';
import { targetOf } from '@nodeos/targets';
import { HOST_COMPILER } from '@nodeos/toolchain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBootState, STATE_COPIES, type BootState } from '../boot-state.js';
import { bootLoaders } from '../loaders.js';
import { encodeSlotHead } from '../slot-head.js';
import { newState } from '../slot.js';
import { expected, otherOf, randomCopy, seeded, type Copies } from './slot-model.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-loaders-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const lacking = [
  ...(process.platform === 'linux' && process.arch === 'x64' ? [] : ['Linux on x86_64']),
  ...['gcc', 'objcopy', 'qemu-system-x86_64'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined),
];

const SECTOR = 512;
/** Random states that a BIOS boots. Each takes about half a second. */
const FUZZED = 60;
/** Where things are on the test's disks, in sectors. */
const [SECOND, HEAD, OTHER_HEAD, KERNEL, SIZE] = [36, 512, 1024, 2048, 4096];
const HEADS = [HEAD * SECTOR, OTHER_HEAD * SECTOR] as const;

interface Stages {
  readonly first: Buffer;
  readonly second: Buffer;
  readonly stub: Buffer;
  readonly select: Buffer;
}

async function build(): Promise<Stages> {
  const [dir, work] = [join(root, 'output'), join(root, 'work')];
  for (const folder of [dir, work]) mkdirSync(folder);
  const step = bootLoaders(targetOf('x86_64'), HOST_COMPILER);
  const context = {
    dir,
    work,
    target: step.target,
    file: (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url)),
    run: (tool: string, args: string[], { cwd }: { cwd: string }) => {
      execFileSync(tool, args, { cwd, stdio: 'pipe' });
      return Promise.resolve();
    },
  };
  await step.build(context as unknown as StepContext);
  const names = ['first', 'second', 'stub', 'select'] as const;
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(dir, name))])) as unknown as Stages;
}

/** The first sectors of a kernel, as far as the loader looks at them. */
function kernelHeader(changes: { version?: number; setup?: number; initramfsMax?: number } = {}): Buffer {
  const bytes = Buffer.alloc(64 * SECTOR);
  bytes.writeUInt8(changes.setup ?? 4, 0x1f1);
  bytes.write('HdrS', 0x202, 'latin1');
  bytes.writeUInt16LE(changes.version ?? 0x20f, 0x206);
  bytes.writeUInt32LE(changes.initramfsMax ?? 0x7fffffff, 0x22c);
  return bytes;
}

interface Disk {
  readonly kernel?: Buffer;
  /** Sector and bytes of the kernel, then of the initramfs, for the heads. */
  readonly table?: readonly [number, number, number, number];
  /** What is in place of the heads of both slots. */
  readonly heads?: readonly [Buffer, Buffer];
  /** Default: slot a is validated, and slot b is empty. */
  readonly copies?: Copies;
  readonly withoutSecond?: boolean;
}

const SLOT_A = newState(HEADS[0]);
/** Slot b is new, and slot a can be relied on. */
const BOTH: BootState = {
  ...SLOT_A,
  slot: 'b',
  tries: 1,
  slots: { ...SLOT_A.slots, b: { head: HEADS[1], validated: false } },
};
const twice = (state: BootState): Copies => [encodeBootState(state), encodeBootState(state)];
const BROKEN = Buffer.alloc(SECTOR);

/** A head whose places are given from the start of the disk. @param at the sector of the head */
function headOf([kernel, kernelLength, initramfs, initramfsLength]: NonNullable<Disk['table']>, at: number): Buffer {
  const place = (sector: number, length: number): { offset: number; length: number } => ({
    offset: (sector - at) * SECTOR,
    length,
  });
  return encodeSlotHead({
    uki: place(KERNEL, 1 << 20),
    kernel: place(kernel, kernelLength),
    initramfs: place(initramfs, initramfsLength),
    commandLine: 'quiet',
    isSlot: true,
  });
}

function diskOf(stages: Stages, disk: Disk): Buffer {
  const bytes = Buffer.alloc(SIZE * SECTOR);
  const [first, second] = [Buffer.from(stages.first), Buffer.from(stages.second)];
  first.writeBigUInt64LE(BigInt(SECOND), 408);
  encodeBootState(SLOT_A).copy(second, 2024, 0, 24);
  first.copy(bytes);
  bytes.writeUInt16LE(0xaa55, 510);
  if (!disk.withoutSecond) second.copy(bytes, SECOND * SECTOR);
  const { table = [KERNEL, 1 << 18, KERNEL + 1024, 4096], copies = twice(SLOT_A) } = disk;
  const { heads = [headOf(table, HEAD), headOf(table, OTHER_HEAD)] } = disk;
  for (const [index, copy] of copies.entries()) copy.copy(bytes, STATE_COPIES[index]);
  for (const [index, head] of heads.entries()) head.copy(bytes, HEADS[index]);
  (disk.kernel ?? Buffer.alloc(0)).copy(bytes, KERNEL * SECTOR);
  return bytes;
}

interface Machine {
  readonly serial: () => string;
  readonly screen: () => string;
  readonly command: (line: string) => void;
}

interface MachineOptions {
  readonly isReadOnly?: boolean;
}

const linesOf = (text: string): string[] => text.split('\r\n').filter((line) => line.startsWith('NodeOS: '));

/** Starts a machine from a disk, which it writes to. */
async function withMachine<T>(
  path: string,
  options: MachineOptions,
  use: (machine: Machine) => Promise<T>,
): Promise<T> {
  const [screen, serial] = [join(root, 'screen'), join(root, 'serial')];
  for (const file of [screen, serial]) rmSync(file, { force: true });
  const drive = `if=none,id=disk,file=${path},format=raw,readonly=${options.isReadOnly ? 'on' : 'off'}`;
  const child = spawn('qemu-system-x86_64', [
    ...['-machine', 'pc,accel=tcg', '-nodefaults', '-display', 'none', '-vga', 'std', '-m', '64M', '-monitor', 'stdio'],
    ...['-drive', drive, '-device', 'virtio-blk-pci,drive=disk'],
    ...['-chardev', `file,id=serial,path=${serial}`, '-serial', 'chardev:serial'],
  ]);
  const command = (line: string): void => void child.stdin.write(`${line}\n`);
  try {
    return await use({
      command,
      serial: () => textOf(serial),
      screen: () => {
        command(`pmemsave 0xb8000 4000 "${screen}"`);
        return screenText(screen);
      },
    });
  } finally {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

async function until(what: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && !what();) await sleep(20);
}

/**
 * Boots a disk, and waits until all of that is on the screen.
 * @returns what it says on the serial port and on the screen
 */
function said(
  stages: Stages,
  disk: Disk,
  messages: readonly string[],
  options: MachineOptions = {},
): Promise<{ serial: string; screen: string }> {
  const image = join(root, 'disk.img');
  writeFileSync(image, diskOf(stages, disk));
  return withMachine(image, options, async ({ serial, screen }) => {
    let text = '';
    const isShown = (message: string): boolean => text.includes(`NodeOS: ${message}`);
    await until(() => (text = screen()) !== '' && messages.every(isShown));
    return { serial: serial(), screen: text };
  });
}

const textOf = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};

/** The characters of a screen in text mode, without their colours. Empty while there is none. */
function screenText(path: string): string {
  try {
    const cells = readFileSync(path);
    return Buffer.from(cells.filter((_, index) => index % 2 === 0)).toString('latin1');
  } catch {
    return '';
  }
}

const names = lacking.map((what) => ` (not here: ${what})`).join('');
describe.skipIf(lacking.length > 0)(`the boot loaders${names}`, { timeout: 120_000 }, () => {
  let stages: Stages;
  beforeAll(async () => {
    stages = await build();
  });

  it('have the sizes that their places have', () => {
    expect(stages.first.length).toBe(440);
    expect(stages.second.length).toBe(2048);
    expect(stages.second.toString('latin1', 4, 8)).toBe('nos2');
    expect(stages.second.subarray(2024)).toEqual(Buffer.alloc(24));
    expect(stages.stub.length).toBeLessThan(4096);
    expect(stages.select.length).toBeLessThan(4096);
  });

  it.each<[string, Disk, readonly string[]]>([
    ['no kernel', {}, ['slot a: no kernel where the table says', 'slot b: it is empty']],
    ['an old kernel', { kernel: kernelHeader({ version: 0x203 }) }, ['slot a: no kernel where the table says']],
    [
      'a kernel with too much setup',
      { kernel: kernelHeader({ setup: 64 }) },
      ['slot a: no kernel where the table says'],
    ],
    ['a short kernel', { table: [KERNEL, 1000, KERNEL, 1] }, ['slot a: no kernel where the table says']],
    [
      'a kernel beyond the disk',
      { table: [SIZE + 64, 1 << 20, KERNEL, 1] },
      ['slot a: the BIOS cannot read the drive'],
    ],
    [
      'an initramfs beyond the disk',
      { kernel: kernelHeader(), table: [KERNEL, 1 << 18, SIZE, 1 << 20] },
      ['slot a: the BIOS cannot read the drive'],
    ],
    [
      'an initramfs that does not fit',
      { kernel: kernelHeader(), table: [KERNEL, 1 << 18, KERNEL + 1024, 100 << 20] },
      ['slot a: too little memory for the initramfs'],
    ],
    [
      'a kernel that takes no initramfs so high',
      { kernel: kernelHeader({ initramfsMax: 0x100000 }) },
      ['slot a: too little memory for the initramfs'],
    ],
    ['no heads', { heads: [BROKEN, BROKEN] }, ['slot a: its head is broken', 'slot b: it is empty']],
    [
      'a head of a state far beyond the disk',
      { copies: twice(newState((2 ** 32 - 1) * SECTOR)) },
      ['slot a: the BIOS cannot read the drive', 'slot b: it is empty'],
    ],
    [
      'no state',
      { copies: [BROKEN, BROKEN], heads: [BROKEN, BROKEN] },
      [
        'slot a: the default, since both copies of the state are broken',
        'slot a: its head is broken',
        'slot b: it is empty',
      ],
    ],
    [
      'a new slot with a broken head, and a good one without a kernel',
      { copies: twice(BOTH), heads: [headOf([KERNEL, 1 << 18, KERNEL, 1], HEAD), BROKEN] },
      ['slot b: its head is broken', 'slot a: no kernel where the table says'],
    ],
    [
      'a slot without tries and no other',
      { copies: twice({ ...SLOT_A, slots: { ...SLOT_A.slots, a: { head: HEADS[0], validated: false } } }) },
      ['slot a: no tries are left, and the other slot is empty', 'slot a: no kernel where the table says'],
    ],
    [
      'a drive that does not take the number of tries',
      { copies: twice(BOTH) },
      ['slot a: the drive does not take the number of tries', 'slot a: no kernel', 'slot b: no kernel'],
    ],
  ])('say so on the screen and on the serial port: %s', async (what, disk, messages) => {
    const isReadOnly = what.startsWith('a drive that');
    const { serial, screen } = await said(stages, disk, messages, { isReadOnly });
    const lines = messages.map((message) => expect.stringContaining(`NodeOS: ${message}`) as string);
    expect(linesOf(serial).slice(0, lines.length)).toEqual(lines);
    for (const message of messages) expect(screen).toContain(`NodeOS: ${message}`);
  });

  it('say so on the screen: no second stage', async () => {
    const message = 'the boot loader is not where it should be';
    const { screen } = await said(stages, { withoutSecond: true }, [message]);
    expect(screen).toContain(`NodeOS: ${message}`);
  });

  it('decide and count as the model does, for random states', async () => {
    const random = seeded(5);
    const image = join(root, 'disk.img');
    writeFileSync(image, diskOf(stages, {}));
    const disk = openSync(image, 'r+');
    const seen = { none: 0, kept: 0, written: 0 };
    await withMachine(image, {}, async ({ serial, command }) => {
      await until(() => linesOf(serial()).length === 2);
      for (let n = 0; n < FUZZED; n++) {
        const copies: Copies = [randomCopy(random, HEADS), randomCopy(random, HEADS)];
        for (const [index, copy] of copies.entries()) writeSync(disk, copy, 0, SECTOR, STATE_COPIES[index]);
        const before = serial().length;
        command('system_reset');
        const here = (): string[] =>
          linesOf(serial().slice(before)).filter((line) => /: (it is|no kernel|its head|the BIOS)/.test(line));
        await until(() => here().length === 2);
        const { first, after, copy } = expected(copies);
        const shown = copies.map((one) => one.toString('hex', 0, 24)).join(' ');
        expect(
          here().map((line) => line.charAt(13)),
          `${shown}: ${serial().slice(before)}`,
        ).toEqual([first, otherOf(first)]);
        for (const [index, wanted] of after.entries()) {
          const found = Buffer.alloc(SECTOR);
          readSync(disk, found, 0, SECTOR, STATE_COPIES[index] ?? 0);
          expect(found.equals(wanted), `copy ${index} of ${shown}: ${found.toString('hex', 0, 24)}`).toBe(true);
        }
        seen[copy === undefined ? 'none' : after === copies ? 'kept' : 'written']++;
      }
    }).finally(() => closeSync(disk));
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);
  });
});
