/** The boot loaders, compiled by the host's compiler and started by SeaBIOS: what they say when something is wrong. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StepContext } from '@nodeos/engine';
import { targetOf } from '@nodeos/targets';
import { HOST_COMPILER } from '@nodeos/toolchain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootLoaders } from '../loaders.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-loaders-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const lacking = [
  ...(process.platform === 'linux' && process.arch === 'x64' ? [] : ['Linux on x86_64']),
  ...['gcc', 'objcopy', 'qemu-system-x86_64'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined),
];

const SECTOR = 512;
/** Where things are on the test's disks, in sectors. */
const [SECOND, KERNEL, SIZE] = [36, 2048, 4096];

interface Stages {
  readonly first: Buffer;
  readonly second: Buffer;
  readonly stub: Buffer;
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
  const [first, second, stub] = ['first', 'second', 'stub'].map((name) => readFileSync(join(dir, name)));
  return { first, second, stub } as Stages;
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
  /** Sector and bytes of the kernel, then of the initramfs. */
  readonly table?: readonly [number, number, number, number];
  readonly withoutSecond?: boolean;
}

function diskOf(stages: Stages, disk: Disk): Buffer {
  const bytes = Buffer.alloc(SIZE * SECTOR);
  const [first, second] = [Buffer.from(stages.first), Buffer.from(stages.second)];
  first.writeBigUInt64LE(BigInt(SECOND), 408);
  for (const [index, value] of (disk.table ?? [KERNEL, 1 << 18, KERNEL + 1024, 4096]).entries())
    second.writeUInt32LE(value, 1008 + 4 * index);
  first.copy(bytes);
  bytes.writeUInt16LE(0xaa55, 510);
  if (!disk.withoutSecond) second.copy(bytes, SECOND * SECTOR);
  (disk.kernel ?? Buffer.alloc(0)).copy(bytes, KERNEL * SECTOR);
  return bytes;
}

/** Boots a disk. @returns what it says on the serial port and on the screen */
async function said(stages: Stages, disk: Disk): Promise<{ serial: string; screen: string }> {
  const [image, screen, serial] = ['disk.img', 'screen', 'serial'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(image, diskOf(stages, disk));
  for (const path of [screen, serial]) rmSync(path, { force: true });
  const child = spawn('qemu-system-x86_64', [
    ...['-machine', 'pc,accel=tcg', '-nodefaults', '-display', 'none', '-vga', 'std', '-m', '64M', '-no-reboot'],
    ...['-drive', `file=${image},format=raw,if=ide,snapshot=on`, '-monitor', 'stdio'],
    ...['-chardev', `file,id=serial,path=${serial}`, '-serial', 'chardev:serial'],
  ]);
  try {
    let text = '';
    for (const deadline = Date.now() + 60_000; Date.now() < deadline && !/NodeOS: .{20}/.test(text);) {
      child.stdin.write(`pmemsave 0xb8000 4000 "${screen}"\n`);
      await sleep(300);
      text = screenText(screen);
    }
    return { serial: readFileSync(serial, 'latin1'), screen: text };
  } finally {
    child.kill('SIGKILL');
  }
}

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
    expect(stages.second.subarray(1008)).toEqual(Buffer.alloc(1040));
    expect(stages.stub.length).toBeLessThan(4096);
  });

  it.each<[string, Disk, string]>([
    ['no kernel', {}, 'NodeOS: no kernel where the table says'],
    ['an old kernel', { kernel: kernelHeader({ version: 0x203 }) }, 'NodeOS: no kernel where the table says'],
    ['a kernel with too much setup', { kernel: kernelHeader({ setup: 64 }) }, 'NodeOS: no kernel where the table says'],
    ['a table with a short kernel', { table: [KERNEL, 1000, 0, 0] }, 'NodeOS: no kernel where the table says'],
    ['a kernel beyond the disk', { table: [SIZE + 64, 1 << 20, 0, 0] }, 'NodeOS: the BIOS cannot read the drive'],
    [
      'an initramfs beyond the disk',
      { kernel: kernelHeader(), table: [KERNEL, 1 << 18, SIZE, 1 << 20] },
      'NodeOS: the BIOS cannot read the drive',
    ],
    [
      'an initramfs that does not fit',
      { kernel: kernelHeader(), table: [KERNEL, 1 << 18, KERNEL + 1024, 100 << 20] },
      'NodeOS: too little memory for the initramfs',
    ],
    [
      'a kernel that takes no initramfs so high',
      { kernel: kernelHeader({ initramfsMax: 0x100000 }) },
      'NodeOS: too little memory for the initramfs',
    ],
  ])('say so on the screen and on the serial port: %s', async (_, disk, message) => {
    const { serial, screen } = await said(stages, disk);
    expect(screen).toContain(message);
    expect(serial).toContain(message);
  });

  it('say so on the screen: no second stage', async () => {
    const { screen } = await said(stages, { withoutSecond: true });
    expect(screen).toContain('NodeOS: the boot loader is not where it should be');
  });
});
